// Creates what is missing of the topics named on the command line, as NAME:PARTITIONS.

import { kafka } from './kafka.js';
import { log } from './log.js';

const admin = kafka.admin();
await admin.connect();
const topics = process.argv.slice(2).map((spec) => {
  const [topic, partitions] = spec.split(':');
  return { topic, numPartitions: Number(partitions), replicationFactor: 1 };
});
const created = await admin.createTopics({ topics, waitForLeaders: true });
await admin.disconnect();
log.info(created ? 'topics created' : 'topics are there', { topics: topics.map((t) => t.topic) });
