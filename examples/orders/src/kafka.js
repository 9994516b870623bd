// The client, one producer, and the loop that every worker runs.

import { setTimeout as sleep } from 'node:timers/promises';

import { Kafka, logLevel } from 'kafkajs';

import { log } from './log.js';

export const DEAD = 'orders.dead';

export const kafka = new Kafka({
  clientId: process.env.SERVICE,
  brokers: (process.env.KAFKA_BROKERS ?? 'localhost:9092').split(','),
  retry: { initialRetryTime: 100, maxRetryTime: 2000, retries: 20 },
  logLevel: logLevel.WARN,
  logCreator: () => ({ label, log: { message, ...rest } }) => log.warn(`kafka: ${message}`, { label, error: rest.error }),
});

const producer = kafka.producer({ allowAutoTopicCreation: false });

export const connectProducer = () => producer.connect();

/** Announces what became of an order. */
export async function announce(topic, type, order) {
  const event = { type, at: new Date().toISOString(), order };
  const headers = { 'x-correlation-id': order.id };
  await producer.send({ topic, acks: -1, messages: [{ key: order.id, value: JSON.stringify(event), headers }] });
}

/** What no retry would help: the event goes to the dead letters. */
export class Unprocessable extends Error {}

/**
 * Hands each order of a topic to `handle`. What is unprocessable is put aside; everything else is
 * tried until it works, while the partition waits.
 */
export async function work({ topic, group, handle }) {
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: 10_000,
    heartbeatInterval: 1_000,
    // A fetch under way is what a stop has to wait for.
    maxWaitTimeInMs: 1_000,
    retry: { retries: 20 },
  });
  stopOn(consumer);
  await producer.connect();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let ready = false;
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    log.info(ready ? 'rebalanced' : 'worker ready', { topic, group, partitions: payload.memberAssignment[topic] ?? [] });
    ready = true;
  });
  await consumer.run({
    eachMessage: async ({ partition, message, heartbeat }) => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          const order = orderOf(message);
          log.info('order received', { orderId: order.id, topic, partition, offset: message.offset });
          await handle(order);
          log.info('order done', { orderId: order.id });
          return;
        } catch (error) {
          if (error instanceof Unprocessable) {
            await putAside(topic, partition, message, error);
            return;
          }
          log.error('cannot process, trying again', { attempt, error: error.message, topic, partition, offset: message.offset });
          await sleep(Math.min(100 * 2 ** attempt, 2_000));
          await heartbeat();
        }
      }
    },
  });
  // The switch that operations has for a worker: USR2 stops its reading, USR1 resumes it.
  process.on('SIGUSR2', () => consumer.pause([{ topic }]));
  process.on('SIGUSR1', () => consumer.resume([{ topic }]));
}

function orderOf(message) {
  let event;
  try {
    event = JSON.parse(message.value);
  } catch {
    throw new Unprocessable('not JSON');
  }
  if (typeof event?.order?.id !== 'string') throw new Unprocessable('no order.id');
  return event.order;
}

async function putAside(topic, partition, message, error) {
  log.warn('put aside', { reason: error.message, topic, partition, offset: message.offset });
  const headers = {
    ...message.headers,
    'x-reason': error.message,
    'x-source': `${topic}/${partition}/${message.offset}`,
  };
  await producer.send({ topic: DEAD, acks: -1, messages: [{ key: message.key, value: message.value, headers }] });
}

/** Leaves the group, so that others take over at once. */
function stopOn(consumer) {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, async () => {
      log.info('stopping', { signal });
      await consumer.disconnect();
      await producer.disconnect();
      process.exit(0);
    });
  }
}
