import type { Redis } from 'ioredis';
import { isShoalError, messageOf, ShoalError } from '../../../../shared/errors.ts';
import type {
  RedisListMetric,
  RedisStreamMetric,
} from '../../../../shared/gen/shoal/v1/autoscale.ts';
import {
  type Dial,
  parseRedisAddresses,
  REDIS_PORT,
  SENTINEL_PORT,
  type Server,
} from '../address.ts';
import type { Connection, Connections } from '../connections.ts';
import type { Credentials } from '../credentials.ts';
import type { Source } from '../follower.ts';
import { READ_WITHIN_MS } from '../pace.ts';
import {
  backlogOf,
  type Elsewhere,
  elementsOf,
  masterOf,
  movedTo,
  type RedisCall,
} from '../redis.ts';
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
  let attempt = 0;
  /** Where a Sentinel, or a node of a cluster, sent us: until it fails. */
  let found: Server | undefined;

  async function readAt(server: Server, known: Credentials, signal: AbortSignal): Promise<number> {
    const dial = await access.dial(server);
    const how = { database: metric.database, tls: wantsTls(metric, server, known) };
    const id = fingerprint(...Object.values(dial), ...Object.values(how), ...Object.values(known));
    const connection = await lease.use(id, () => openRedis(how, dial, known));
    return await connection.whileOpen(signal, (call) => ask(metric, call));
  }

  return {
    kind: 'queue',
    where: metric.address.includes('@') ? 'redis' : metric.address,
    close: () => lease.close(),
    async read(signal) {
      const isSentinel = metric.sentinel !== '';
      const servers = parseRedisAddresses(metric.address, isSentinel ? SENTINEL_PORT : REDIS_PORT);
      // One server a try, the next one after a failure: one that does not answer takes all the time there is.
      const declared = servers[attempt % servers.length];
      if (declared === undefined) throw new TypeError('a list has one address at least');
      let server = found ?? declared;
      let credentials: Credentials | undefined;
      try {
        const known = access.credentials(metric.auth);
        credentials = known;
        if (found === undefined && isSentinel) {
          const tls = wantsTls(metric, declared, known);
          const dial = await access.dial(declared);
          found = { ...(await askSentinel(metric.sentinel, tls, dial, known, signal)), tls };
          server = found;
        }
        try {
          return await readAt(server, known, signal);
        } catch (error) {
          const elsewhere = movedTo(messageOf(error));
          if (elsewhere === undefined) throw error;
          const { port } = elsewhere;
          found = { ...server, host: elsewhere.host || server.host, port };
          server = found;
          return await readAt(server, known, signal);
        }
      } catch (error) {
        attempt += 1;
        found = undefined;
        throw sourceError(error, server, credentials, access.hintFor(server));
      }
    },
  };
}

/** Roots and a certificate of one's own are of use for nothing else. */
function wantsTls(metric: RedisMetric, server: Server, { ca, certificate }: Credentials): boolean {
  return metric.tls || server.tls || ca !== '' || certificate !== '';
}

/** Many Sentinels have no password though their masters have; those that do are given the same. */
async function askSentinel(
  name: string,
  tls: boolean,
  dial: Dial,
  known: Credentials,
  signal: AbortSignal,
): Promise<Elsewhere> {
  const ask = async (credentials: Credentials) => {
    const connection = await openRedis({ database: 0, tls }, dial, credentials);
    const close = () => connection.close(); // nobody shares it
    signal.addEventListener('abort', close, { once: true });
    try {
      return await connection.whileOpen(signal, (call) => masterOf(call, name));
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  };
  try {
    return await ask({ ...known, username: '', password: '' });
  } catch (error) {
    if (known.password === '' || !messageOf(error).startsWith('NOAUTH')) throw error;
    return await ask(known);
  }
}

function ask(metric: RedisMetric, call: RedisCall): Promise<number> {
  if ('stream' in metric) return backlogOf(call, metric.stream, metric.group);
  return elementsOf(call, metric.key);
}

/** What the client says of a connection that ended: before its last event it names a stream and an option of its own. */
const LOST = /^Connection is closed\.|^Stream isn't writeable/;

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
    } catch (error) {
      if (!LOST.test(messageOf(error))) throw error;
      throw new ShoalError('unavailable', 'the connection was lost', { cause: error });
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

async function openRedis(
  { database, tls }: Readonly<{ database: number; tls: boolean }>,
  { host, port, serverName }: Dial,
  credentials: Credentials,
): Promise<RedisConnection> {
  const { username, password } = credentials;
  const { Redis } = await import('ioredis'); // at first use: managers without such metrics do not pay for it
  const redis = new Redis({
    host,
    port,
    ...(tls ? { tls: tlsOptions(serverName, credentials) } : {}),
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
