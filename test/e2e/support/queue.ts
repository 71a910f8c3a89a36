// queue.ts redis|nats ADDRESS push N: puts N jobs into the list `jobs`, or the stream JOBS with its consumer `work`,
// which are made when they are not there.
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Redis } from 'ioredis';

async function pushToRedis(address: string, count: number): Promise<void> {
  const redis = new Redis(`redis://${address}`);
  await redis.rpush('jobs', ...Array.from({ length: count }, (_, job) => `job ${job}`));
  await redis.quit();
}

async function pushToNats(address: string, count: number): Promise<void> {
  const connection = await connect({ servers: address });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'JOBS', subjects: ['jobs'] });
  await manager.consumers.add('JOBS', { durable_name: 'work', ack_policy: 'explicit' });
  const stream = jetstream(connection);
  for (let job = 0; job < count; job++) await stream.publish('jobs', `job ${job}`);
  await connection.drain();
}

const [kind, address = '', , count] = process.argv.slice(2);
if (kind === 'redis') await pushToRedis(address, Number(count));
else await pushToNats(address, Number(count));
