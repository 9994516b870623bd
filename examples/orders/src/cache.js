import Redis from 'ioredis';

import { log } from './log.js';

export const cache = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379', {
  maxRetriesPerRequest: 1,
  retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
});

cache.on('error', (error) => log.warn('redis', { error: error.message || error.code }));

/** A customer's orders, as `GET /orders` answers them. */
export const ordersKey = (customer) => `shop:orders:${customer}`;
