// The little that we need of a web framework.

import { createServer } from 'node:http';

import { log } from './log.js';

/** `routes` maps `METHOD /path` to a function of the request's URL and its JSON. */
export function serve(routes) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const answer = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const route = routes[`${request.method} ${url.pathname}`];
    if (!route) return answer(404, { error: 'not found' });
    try {
      const chunks = await collect(request);
      const [status, body] = await route(url, chunks.length ? JSON.parse(Buffer.concat(chunks)) : undefined);
      return answer(status, body);
    } catch (error) {
      if (error instanceof SyntaxError) return answer(400, { error: 'not JSON' });
      log.error('request failed', { path: url.pathname, error: error.message });
      return answer(503, { error: 'try again later' });
    }
  });
  const port = Number(process.env.PORT ?? 3000);
  server.listen(port, () => log.info('listening', { port }));
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

async function collect(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks;
}
