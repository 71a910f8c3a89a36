// Against Debian's redis-server.
import { readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { Redis } from 'ioredis';
import { Connections } from '../../../../manager/autoscaler/sources/connections.ts';
import {
  type RedisConnection,
  redisSource,
} from '../../../../manager/autoscaler/sources/io/redis.ts';
import { ShoalError } from '../../../../shared/errors.ts';
import { RedisListMetric, RedisStreamMetric } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { freePort } from '../../../support/ports.ts';
import { soon, TestServer, testCertificate } from './support/servers.ts';
import { FakeStore, failure, read } from './support/sources.ts';

/** By then a question is with the server; were it not, the tests would see the same. */
const UNDER_WAY_MS = 100;

type ListFields = Parameters<typeof RedisListMetric.fromPartial>[0];

/** Sources of one test, on a server of its own; `client` is the test's own hand. */
class Bench {
  readonly server: TestServer;
  readonly client: Redis;
  readonly store = new FakeStore();
  readonly connections = new Connections<RedisConnection>();

  private constructor(server: TestServer, password: string) {
    this.server = server;
    const options = { host: '127.0.0.1', port: server.port, retryStrategy: () => 50 };
    this.client = new Redis(password === '' ? options : { ...options, password });
    this.client.on('error', () => undefined); // tests kill the server
  }

  static async start(password = ''): Promise<Bench> {
    const options = password === '' ? [] : ['--requirepass', password];
    return new Bench(await TestServer.redis(...options), password);
  }

  list(fields: ListFields = {}) {
    const address = `127.0.0.1:${this.server.port}`;
    const metric = RedisListMetric.fromPartial({ address, key: 'jobs', ...fields });
    return redisSource(metric, this.store.access(), this.connections);
  }

  stream(stream: string, group: string) {
    const address = `127.0.0.1:${this.server.port}`;
    const metric = RedisStreamMetric.fromPartial({ address, stream, group });
    return redisSource(metric, this.store.access(), this.connections);
  }

  /** Connections that the server has beside the test's own. */
  async clients(): Promise<number> {
    return (
      String(await this.client.client('LIST'))
        .trim()
        .split('\n').length - 1
    );
  }

  async stop(): Promise<void> {
    this.client.disconnect();
    await this.server.remove();
  }
}

test('lists, sets, sorted sets and hashes have lengths, a missing key has 0, a text is an error', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.client.rpush('list', 'a', 'b', 'c');
  await bench.client.sadd('set', 'a', 'b');
  await bench.client.zadd('zset', 1, 'a');
  await bench.client.hset('hash', { a: 1, b: 2, c: 3, d: 4 });
  await bench.client.set('text', '7');
  const length = (key: string) => read(bench.list({ key }));
  t.is(await length('list'), 3);
  t.is(await length('set'), 2);
  t.is(await length('zset'), 1);
  t.is(await length('hash'), 4);
  t.is(await length('missing'), 0);
  t.regex(await failure(bench.list({ key: 'text' })), /key text is a string/);
  await bench.client.lpop('list', 3);
  t.is(await length('list'), 0, 'Redis removes a list with its last element');
});

test('a wrong password, none, and a database that does not exist are errors', async (t) => {
  const bench = await Bench.start('hunter2');
  t.teardown(() => bench.stop());
  await bench.client.rpush('jobs', 'a');
  bench.store.secrets.set('right', 'hunter2\n').set('wrong', 'hunter3');
  t.is(await read(bench.list({ auth: { passwordSecret: 'right' } })), 1);
  const wrong = await failure(bench.list({ auth: { passwordSecret: 'wrong' } }));
  t.regex(wrong, /WRONGPASS/);
  t.notRegex(wrong, /hunter/);
  t.regex(await failure(bench.list()), /NOAUTH/);
  t.regex(await failure(bench.list({ auth: { passwordSecret: 'gone' } })), /no secret gone/);
  const auth = { passwordSecret: 'right' };
  t.is(await read(bench.list({ database: 3, auth })), 0, 'another database has other keys');
  t.regex(await failure(bench.list({ database: 99, auth })), /DB index is out of range/);
});

test('a secret that is changed is used from the next reading on, and the old connection ends', async (t) => {
  const bench = await Bench.start('first');
  t.teardown(() => bench.stop());
  await bench.client.rpush('jobs', 'a');
  bench.store.secrets.set('db', 'first');
  const source = bench.list({ auth: { passwordSecret: 'db' } });
  t.is(await read(source), 1);
  await bench.client.config('SET', 'requirepass', 'second');
  t.is(await read(source), 1, 'a connection that is open stays so');
  bench.store.secrets.set('db', 'second');
  t.is(await read(source), 1);
  await soon(async () => (await bench.clients()) === 1);
  bench.store.secrets.set('db', 'third');
  t.regex(await failure(source), /WRONGPASS/);
  source.close();
  await soon(async () => (await bench.clients()) === 0);
});

test('users with a name and few rights can read', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  const rights = ['on', '>pass', '~jobs', '+type', '+llen'];
  await bench.client.call('ACL', 'SETUSER', 'metrics', ...rights);
  bench.store.secrets.set('db', 'pass');
  const auth = { username: 'metrics', passwordSecret: 'db' };
  t.is(await read(bench.list({ auth })), 0);
  t.regex(await failure(bench.list({ key: 'other', auth })), /NOPERM/);
});

test('all metrics of a server share one connection, which ends with the last of them', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  const sources = Array.from({ length: 20 }, (_, i) => bench.list({ key: `jobs-${i}` }));
  await Promise.all(sources.map(read));
  await Promise.all(sources.map(read));
  t.is(await bench.clients(), 1);
  for (const source of sources.slice(1)) source.close();
  t.is(await bench.clients(), 1);
  sources[0]?.close();
  await soon(async () => (await bench.clients()) === 0);
  t.is(bench.connections.size, 0);
});

test('a server that is killed fails its readings, and is read again when it is back', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.client.rpush('jobs', 'a', 'b');
  const source = bench.list();
  t.is(await read(source), 2);
  await bench.server.pause(); // so that the question is under way when it dies
  const asked = failure(source);
  await delay(UNDER_WAY_MS);
  await bench.server.kill();
  t.regex(await asked, /127\.0\.0\.1:\d+: .*the connection was lost/);
  t.regex(await failure(source), /ECONNREFUSED/);
  await bench.server.start();
  t.is(await read(source), 2, 'and not 0');
});

test('a server that does not answer in time is asked on another connection', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.client.rpush('jobs', 'a');
  const source = bench.list();
  t.is(await read(source), 1);
  await bench.server.pause();
  const limit = new AbortController();
  const asked = source.read(limit.signal);
  await delay(UNDER_WAY_MS);
  limit.abort(new ShoalError('deadline-exceeded', 'no answer'));
  await t.throwsAsync(asked, { message: /the connection was lost/ });
  bench.server.resume();
  t.is(await read(source), 1);
  await soon(async () => (await bench.clients()) === 1);
});

test('a metric that is no longer wanted leaves the connection to those that share it', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  const [ends, stays] = [bench.list(), bench.list({ key: 'other' })];
  await Promise.all([read(ends), read(stays)]);
  await bench.server.pause();
  const end = new AbortController();
  const [asked, other] = [ends.read(end.signal), read(stays)];
  await delay(UNDER_WAY_MS);
  end.abort(new ShoalError('cancelled', 'no longer followed'));
  ends.close();
  bench.server.resume();
  t.is(await asked, 0, 'its answer came after all');
  t.is(await other, 0);
});

test('a stream has to be done what its group did not get and what it did not acknowledge', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  const { client } = bench;
  const source = bench.stream('events', 'workers');
  t.is(await read(source), 0, 'without a stream');
  for (let id = 1; id <= 10; id++) await client.xadd('events', `${id}-0`, 'n', id);
  t.is(await read(source), 10, 'without the group');
  t.is(await read(bench.stream('events', '')), 10, 'no group is asked for');
  await client.xgroup('CREATE', 'events', 'workers', '0');
  t.is(await read(source), 10);
  await client.xreadgroup('GROUP', 'workers', 'c', 'COUNT', 4, 'STREAMS', 'events', '>');
  t.is(await read(source), 10, 'delivered is not done');
  await client.xack('events', 'workers', '1-0', '2-0', '3-0');
  t.is(await read(source), 7);
  await client.xreadgroup('GROUP', 'workers', 'c', 'COUNT', 6, 'STREAMS', 'events', '>');
  await client.xack('events', 'workers', ...Array.from({ length: 10 }, (_, i) => `${i + 1}-0`));
  t.is(await read(source), 0);
  t.is(await read(bench.stream('events', '')), 10, 'the stream is as long as before');
});

test('a lag that Redis does not know any more is counted', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  const { client } = bench;
  for (let id = 1; id <= 10; id++) await client.xadd('events', `${id}-0`, 'n', id);
  await client.xgroup('CREATE', 'events', 'workers', '0');
  await client.xreadgroup('GROUP', 'workers', 'c', 'COUNT', 4, 'STREAMS', 'events', '>');
  await client.xack('events', 'workers', '1-0', '2-0');
  await client.xdel('events', '7-0');
  const [info] = (await client.call('XINFO', 'GROUPS', 'events')) as unknown[][];
  // ioredis asks in RESP 3 here, where a group is a map; either way a lag of null is what this is about.
  t.true(JSON.stringify(info).includes('null'), JSON.stringify(info));
  t.is(await read(bench.stream('events', 'workers')), 2 + 5);
});

test('with TLS the name in the certificate counts, whichever address is dialled', async (t) => {
  const files = testCertificate('redis');
  const tls = ['--tls-cert-file', files.cert, '--tls-key-file', files.key];
  const server = await TestServer.redis(
    ...['--port', '0', '--tls-port', 'PORT', '--tls-auth-clients', 'no', ...tls],
    ...['--tls-ca-cert-file', files.ca],
  );
  t.teardown(async () => {
    await server.remove();
    rmSync(files.dir, { recursive: true });
  });
  const store = new FakeStore();
  store.secrets.set('ca', readFileSync(files.ca, 'utf8')).set('no-ca', 'hello');
  store.publish('redis', 6379, server.port);
  store.publish('other', 6379, server.port);
  const at = (address: string, caSecret: string) =>
    redisSource(
      RedisListMetric.fromPartial({ address, key: 'jobs', tls: true, auth: { caSecret } }),
      store.access(),
      new Connections(),
    );
  t.is(await read(at('redis:6379', 'ca')), 0);
  t.regex(await failure(at('redis:6379', '')), /^redis:6379: .*certificate/);
  t.regex(await failure(at('other:6379', 'ca')), /^other:6379: .*not in the cert's altnames/);
  t.regex(await failure(at('redis:6379', 'no-ca')), /holds no PEM certificate/);
});

test('rediss:// is TLS; a certificate of this side is shown where the server asks for one', async (t) => {
  const files = testCertificate('redis');
  const tls = ['--tls-cert-file', files.cert, '--tls-key-file', files.key];
  const server = await TestServer.redis(
    ...['--port', '0', '--tls-port', 'PORT', '--tls-auth-clients', 'yes', ...tls],
    ...['--tls-ca-cert-file', files.ca],
  );
  t.teardown(async () => {
    await server.remove();
    rmSync(files.dir, { recursive: true });
  });
  const store = new FakeStore();
  const pem = (...paths: string[]) => paths.map((path) => readFileSync(path, 'utf8')).join('');
  store.secrets.set('ca', pem(files.ca)).set('both', pem(files.cert, files.key));
  store.publish('redis', 6379, server.port);
  const at = (address: string, certificateSecret: string) =>
    redisSource(
      RedisListMetric.fromPartial({
        address,
        key: 'jobs',
        auth: { caSecret: 'ca', certificateSecret },
      }),
      store.access(),
      new Connections(),
    );
  t.is(await read(at('rediss://redis:6379', 'both')), 0);
  t.is(await read(at('redis:6379', 'both')), 0, 'roots are for TLS and nothing else');
  t.notRegex(await failure(at('rediss://redis', '')), /it answered/);
});

test('of several addresses the next one is tried after a failure', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  const source = bench.list({
    address: `127.0.0.1:${await freePort()},redis://127.0.0.1:${bench.server.port}`,
  });
  t.regex(await failure(source), /ECONNREFUSED/);
  t.is(await read(source), 0);
});

test('in a cluster the node that has the key is asked, whichever is named', async (t) => {
  const nodes = await Promise.all([TestServer.clusterNode(), TestServer.clusterNode()]);
  t.teardown(async () => {
    await Promise.all(nodes.map((node) => node.remove()));
  });
  const [one, two] = nodes;
  const clients = nodes.map(({ port }) => new Redis({ port, protocol: 2 }));
  for (const client of clients) client.on('error', () => undefined); // one is killed
  const [first, second] = clients;
  if (one === undefined || two === undefined || !first || !second)
    throw new Error('two are asked for');
  t.teardown(() => {
    for (const client of clients) client.disconnect();
  });
  await first.call('CLUSTER', 'ADDSLOTSRANGE', 0, 8_191);
  await second.call('CLUSTER', 'ADDSLOTSRANGE', 8_192, 16_383);
  const [, bus] = /@(\d+)/.exec(String(await second.cluster('NODES'))) ?? [];
  await first.call('CLUSTER', 'MEET', '127.0.0.1', two.port, bus ?? '');
  await soon(async () =>
    (await Promise.all(clients.map((client) => client.cluster('INFO')))).every((info) =>
      String(info).includes('cluster_state:ok'),
    ),
  );
  // Slot 12182, which the second node has.
  await second.rpush('foo', 'a', 'b', 'c');
  const store = new FakeStore();
  const connections = new Connections<RedisConnection>();
  const at = (address: string) =>
    redisSource(RedisListMetric.fromPartial({ address, key: 'foo' }), store.access(), connections);
  const source = at(`127.0.0.1:${one.port}`);
  t.is(await read(source), 3);
  t.is(await read(source), 3);
  t.is(await read(at(`127.0.0.1:${two.port}`)), 3);
  t.is(connections.size, 1, 'the node that has the key is known after the first time');
  await two.kill();
  t.regex(await failure(source), /the connection was lost|ECONNREFUSED/);
  await two.start();
  await soon(async () => (await failure(source)) === 'it answered 3');
});

test('a Sentinel tells where the master is, and is asked again when that one is lost', async (t) => {
  const [master, other] = await Promise.all([
    TestServer.redis('--requirepass', 'pw'),
    TestServer.redis('--requirepass', 'pw'),
  ]);
  const [watching, guarded] = await Promise.all([
    TestServer.sentinel('jobs-db', master),
    TestServer.sentinel('jobs-db', other, 'pw'),
  ]);
  t.teardown(async () => {
    await Promise.all([master, other, watching, guarded].map((server) => server.remove()));
  });
  const store = new FakeStore();
  store.secrets.set('db', 'pw');
  const at = (fields: { address: string; sentinel: string }) =>
    redisSource(
      RedisListMetric.fromPartial({ key: 'jobs', auth: { passwordSecret: 'db' }, ...fields }),
      store.access(),
      new Connections(),
    );
  const both = `127.0.0.1:${watching.port},127.0.0.1:${guarded.port}`;
  const source = at({ address: both, sentinel: 'jobs-db' });
  const client = new Redis({ port: other.port, password: 'pw', protocol: 2 });
  t.teardown(() => client.disconnect());
  await client.rpush('jobs', 'a');
  t.is(await read(source), 0);
  await master.kill();
  t.notRegex(await failure(source), /it answered/);
  t.is(await read(source), 1, 'the next Sentinel is one with a password, and knows another master');
  t.regex(await failure(at({ address: both, sentinel: 'none' })), /knows no master none/);
});

test('a service that publishes its port is reached through this host; one that does not, is said to', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.client.rpush('jobs', 'a');
  bench.store.publish('shoal-test-queue', 6379, bench.server.port);
  t.is(await read(bench.list({ address: 'shoal-test-queue:6379' })), 1);
  const message = await failure(bench.list({ address: 'shoal-test-queue:6380' }));
  t.regex(message, /cannot be resolved/);
  t.regex(message, /service shoal-test-queue does not publish port 6380 in ingress mode/);
});

test('a server that is none of Redis is an error', async (t) => {
  const server = await TestServer.nats();
  t.teardown(() => server.remove());
  const store = new FakeStore();
  store.secrets.set('db', 'hunter2');
  const at = (port: number) =>
    redisSource(
      RedisListMetric.fromPartial({
        address: `127.0.0.1:${port}`,
        key: 'jobs',
        auth: { passwordSecret: 'db' },
      }),
      store.access(),
      new Connections(),
    );
  const message = await failure(at(server.port));
  t.notRegex(message, /it answered|hunter2/);
  t.regex(await failure(at(await freePort())), /ECONNREFUSED/);
});
