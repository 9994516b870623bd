// Notifies the customer, and deletes the cached orders of the customer.

import { cache, ordersKey } from './cache.js';
import { db } from './db.js';
import { work } from './kafka.js';
import { log } from './log.js';

await work({
  topic: process.env.TOPIC,
  group: process.env.GROUP,
  handle: async (order) => {
    const { rowCount } = await db.query(
      'INSERT INTO mails (order_id, template) VALUES ($1, $2) ON CONFLICT (order_id) DO NOTHING',
      [order.id, 'order-billed'],
    );
    await cache.del(ordersKey(order.customer));
    log.info(rowCount ? 'mail sent' : 'mail had been sent', { orderId: order.id });
  },
});
