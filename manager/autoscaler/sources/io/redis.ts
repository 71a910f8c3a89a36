import type { Redis } from 'ioredis';
import { isShoalError, ShoalError } from '../../../../shared/errors.ts';
import type {
  RedisListMetric,
  RedisStreamMetric,
} from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { type Dial, parseAddress, REDIS_PORT } from '../address.ts';
import type { Connection, Connections } from '../connections.ts';
import type { Credentials } from '../credentials.ts';
import type { Source } from '../follower.ts';
import { READ_WITHIN_MS } from '../pace.ts';
import { backlogOf, elementsOf, type RedisCall } from '../redis.ts';
import { type Access, fingerprint, sourceError } from './access.ts';
import { tlsOptions } from './tls.ts';

type RedisMetric = RedisListMetric | RedisStreamMetric;

/** The source of a Redis list or stream. */
export function redisSource(
  metric: RedisMetric,
  access: Access,
  connections: Connections<RedisConnection>,
): Source {
  const lease = connections.lease();
  return {
    kind: 'queue',
    where: metric.address.includes('@') ? 'redis' : metric.address,
    close: () => lease.close(),
    async read(signal) {
      const address = parseAddress(metric.address, REDIS_PORT);
      let credentials: Credentials | undefined;
      try {
        const known = access.credentials(metric.auth);
        credentials = known;
        const dial = await access.dial(address);
        const id = fingerprint(
          ...Object.values(dial),
          ...databaseOf(metric),
          ...Object.values(known),
        );
        const connection = await lease.use(id, () => openRedis(metric, dial, known));
        return await connection.whileOpen(signal, (call) => ask(metric, call));
      } catch (error) {
        throw sourceError(error, address, credentials, access.hintFor(address));
      }
    },
  };
}

function databaseOf({ database, tls }: RedisMetric): [number, boolean] {
  return [database, tls];
}

function ask(metric: RedisMetric, call: RedisCall): Promise<number> {
  if ('stream' in metric) return backlogOf(call, metric.stream, metric.group);
  return elementsOf(call, metric.key);
}

/** A connection that ends when it is lost: opening another one is the business of the next reading. */
export class RedisConnection implements Connection {
  readonly #redis: Redis;
  #closed = false;

  constructor(redis: Redis) {
    this.#redis = redis;
    redis.once('end', () => this.close());
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    this.#redis.disconnect();
  }

  /** A server that did not answer in time is asked on a new connection: its late answers would be taken for others. */
  async whileOpen<T>(signal: AbortSignal, work: (call: RedisCall) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const onAbort = () => {
      if (isShoalError(signal.reason, 'deadline-exceeded')) this.close();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await work((command, ...args) => this.#redis.call(command, ...args));
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

async function openRedis(
  { database, tls }: Readonly<{ database: number; tls: boolean }>,
  { host, port, serverName }: Dial,
  { username, password, ca }: Credentials,
): Promise<RedisConnection> {
  const { Redis } = await import('ioredis'); // at first use: managers without such metrics do not pay for it
  const redis = new Redis({
    host,
    port,
    ...(tls ? { tls: tlsOptions(serverName, ca) } : {}),
    protocol: 2, // servers before version 6 know no other
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    enableReadyCheck: false, // by INFO, which a user for metrics need not be allowed
    disableClientInfo: true,
  });
  // The event is the only place where the reason of a failed connection is told.
  let failure: Error | undefined;
  redis.on('error', (error: Error) => {
    failure = error;
  });
  const timer = setTimeout(() => {
    failure = new ShoalError('deadline-exceeded', 'the connection is not made in time');
    redis.disconnect();
  }, READ_WITHIN_MS);
  try {
    await redis.connect();
    // Not left to the client: it goes on with a connection on which one of them failed, so to another database.
    const user = username === '' ? [] : [username];
    if (password !== '') await redis.call('AUTH', ...user, password);
    if (database !== 0) await redis.call('SELECT', database);
    return new RedisConnection(redis);
  } catch (error) {
    redis.disconnect();
    throw failure ?? error;
  } finally {
    clearTimeout(timer);
  }
}
