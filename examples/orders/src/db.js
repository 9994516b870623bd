import pg from 'pg';

import { log } from './log.js';

export const db = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 3, connectionTimeoutMillis: 3_000 });

// An idle connection that breaks is replaced by the pool.
db.on('error', (error) => log.warn('database connection lost', { error: error.message }));

/** Runs `steps` in one transaction. */
export async function transaction(steps) {
  const client = await db.connect();
  try {
    await client.query('BEGIN');
    const result = await steps(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}
