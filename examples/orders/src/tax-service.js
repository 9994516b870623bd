// Knows the rates.

import { serve } from './http.js';

const RATES = { AT: 0.2, DE: 0.19, FR: 0.2, NL: 0.21 };

serve({
  'GET /healthz': async () => [200, { status: 'ok' }],
  'GET /rate': async (url) => {
    const rate = RATES[url.searchParams.get('country')];
    return rate === undefined ? [404, { error: 'no such country' }] : [200, { rate }];
  },
});
