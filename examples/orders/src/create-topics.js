// Creates what is missing of the topics named on the command line, as NAME:PARTITIONS.

import { DEAD, kafka } from './kafka.js';
import { log } from './log.js';

const admin = kafka.admin();
await admin.connect();
// A message of the largest size has to fit there with the headers that say why it is there.
const forDead = [{ name: 'max.message.bytes', value: String(1_048_588 + 65_536) }];

const topics = process.argv.slice(2).map((spec) => {
  const [topic, partitions] = spec.split(':');
  const configEntries = topic === DEAD ? forDead : [];
  return { topic, numPartitions: Number(partitions), replicationFactor: 1, configEntries };
});
const created = await admin.createTopics({ topics, waitForLeaders: true });
await admin.disconnect();
log.info(created ? 'topics created' : 'topics are there', { topics: topics.map((t) => t.topic) });
