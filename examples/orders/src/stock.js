// Reserves what was ordered.

import { transaction } from './db.js';
import { announce, Unprocessable, work } from './kafka.js';
import { log } from './log.js';

await work({
  topic: process.env.TOPIC,
  group: process.env.GROUP,
  handle: async (order) => {
    await transaction(async (client) => {
      const { rows: [item] } = await client.query('SELECT on_hand FROM stock WHERE sku = $1 FOR UPDATE', [order.sku]);
      if (!item) throw new Unprocessable(`unknown sku ${order.sku}`);
      const { rows: [taken] } = await client.query(
        'SELECT coalesce(sum(quantity), 0)::int AS quantity FROM reservations WHERE sku = $1 AND order_id <> $2',
        [order.sku, order.id],
      );
      if (taken.quantity + order.quantity > item.on_hand) throw new Unprocessable(`out of stock: ${order.sku}`);
      await client.query(
        'INSERT INTO reservations (order_id, sku, quantity) VALUES ($1, $2, $3) ON CONFLICT (order_id) DO NOTHING',
        [order.id, order.sku, order.quantity],
      );
    });
    log.info('reserved', { orderId: order.id, sku: order.sku });
    await announce('orders.reserved', 'order.reserved', order);
  },
});
