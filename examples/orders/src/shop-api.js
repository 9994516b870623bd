// Takes orders.

import { randomUUID } from 'node:crypto';

import { cache, ordersKey } from './cache.js';
import { db, transaction } from './db.js';
import { serve } from './http.js';
import { announce, connectProducer } from './kafka.js';
import { log } from './log.js';

await connectProducer();

serve({
  'GET /healthz': async () => {
    await db.query('SELECT 1');
    return [200, { status: 'ok' }];
  },

  'POST /orders': async (_, body) => {
    const { customer, sku, quantity, country } = body ?? {};
    if (!customer || !sku || !Number.isInteger(quantity) || quantity < 1) return [422, { error: 'customer, sku, quantity' }];
    const order = { id: `ord_${randomUUID()}`, customer, sku, quantity, country: country ?? 'DE' };
    // Announced inside of the transaction: what Kafka does not take is no order.
    await transaction(async (client) => {
      await client.query(
        'INSERT INTO orders (id, customer, sku, quantity, country) VALUES ($1, $2, $3, $4, $5)',
        [order.id, customer, sku, quantity, order.country],
      );
      await announce('orders.placed', 'order.placed', order);
    });
    log.info('order placed', { orderId: order.id });
    return [201, { order: { id: order.id, status: 'placed' } }];
  },

  'GET /orders': async (url) => {
    const customer = url.searchParams.get('customer');
    const cached = await cache.get(ordersKey(customer));
    if (cached) return [200, JSON.parse(cached)];
    const { rows } = await db.query('SELECT id, sku, quantity FROM orders WHERE customer = $1 ORDER BY placed_at', [customer]);
    await cache.set(ordersKey(customer), JSON.stringify(rows), 'EX', 300);
    return [200, rows];
  },
});
