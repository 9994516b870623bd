// Writes the invoice.

import { db } from './db.js';
import { announce, work } from './kafka.js';
import { log } from './log.js';

const NET_CENTS = 1_990;
const TAX_URL = process.env.TAX_URL ?? 'http://tax-service:3000';
// Staging bills nobody.
const DRY_RUN = process.env.DRY_RUN === 'true';

await work({
  topic: process.env.TOPIC,
  group: process.env.GROUP,
  handle: async (order) => {
    const net = NET_CENTS * order.quantity;
    const tax = Math.round(net * (await rate(order.country)));
    if (!DRY_RUN) {
      await db.query(
        'INSERT INTO invoices (order_id, net_cents, tax_cents) VALUES ($1, $2, $3) ON CONFLICT (order_id) DO NOTHING',
        [order.id, net, tax],
      );
    }
    log.info('invoice written', { orderId: order.id, net, tax });
    await announce('orders.billed', 'order.billed', { ...order, net, tax });
  },
});

async function rate(country) {
  const response = await fetch(`${TAX_URL}/rate?country=${country}`, { signal: AbortSignal.timeout(2_000) });
  if (!response.ok) throw new Error(`tax-service answered ${response.status}`);
  return (await response.json()).rate;
}
