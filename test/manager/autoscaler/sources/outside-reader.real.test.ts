// All of it together, in real time: store, loops, clients and Debian's servers.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { Redis } from 'ioredis';
import { createOutsideReader } from '../../../../manager/autoscaler/sources/io/outside-reader.ts';
import type { OutsideMetric, OutsideReader } from '../../../../manager/autoscaler/sources.ts';
import { updateAction } from '../../../../manager/store/tables.ts';
import { AutoscaleMetric } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { systemClock, systemRandom } from '../../../../shared/io/system.ts';
import type { Log, LogFields } from '../../../../shared/log.ts';
import { secretFixture, serviceFixture } from '../../../support/objects.ts';
import { storeFixture } from '../../../support/store.ts';
import { soon, TestServer } from './support/servers.ts';

type Kind = NonNullable<Parameters<typeof AutoscaleMetric.fromPartial>[0]['kind']>;
const metric = (key: string, kind: Kind): OutsideMetric => ({
  key,
  metric: AutoscaleMetric.fromPartial({ kind }),
});

/** Everything that is logged, as text. */
class Lines implements Log {
  readonly all: string[] = [];
  readonly #add = (message: string, fields?: LogFields) => {
    this.all.push(`${message} ${JSON.stringify(fields ?? {})}`);
  };
  readonly debug = this.#add;
  readonly info = this.#add;
  readonly warn = this.#add;
  readonly error = this.#add;
  with(): Log {
    return this;
  }
}

const readingOf = (reader: OutsideReader, key: string) => {
  const reading = reader.latest(key);
  return reading?.kind === 'value' ? reading.value.stable : undefined;
};
const errorOf = (reader: OutsideReader, key: string) => {
  const reading = reader.latest(key);
  return reading?.kind === 'error' ? reading.error : '';
};

test('sources of a store: one dies and comes back, a secret is rotated, and the other one goes on', async (t) => {
  const [redis, nats] = await Promise.all([
    TestServer.redis('--requirepass', 'hunter2'),
    TestServer.nats(),
  ]);
  t.teardown(() => Promise.all([redis.remove(), nats.remove()]).then(() => undefined));
  const client = new Redis({ host: '127.0.0.1', port: redis.port, password: 'hunter2' });
  client.on('error', () => undefined); // the server is killed
  t.teardown(() => client.disconnect());
  await client.rpush('jobs', 'a', 'b');

  const secret = secretFixture({ spec: { name: 'queue', data: Buffer.from('hunter2') } });
  const labels = { 'com.docker.stack.namespace': 'shop' };
  const worker = serviceFixture({ spec: { name: 'shop_worker', labels } });
  const ports = [
    { protocol: 'tcp', publishMode: 'ingress', targetPort: 6379, publishedPort: redis.port },
  ];
  const queue = serviceFixture({ spec: { name: 'shop_queue', labels }, endpoint: { ports } });
  const { store, writer } = await storeFixture({ secret: [secret], service: [worker, queue] });
  const log = new Lines();
  const reader = createOutsideReader({ store, clock: systemClock, random: systemRandom, log });
  const list = `${worker.id}/list`;
  const lost = `${worker.id}/lost`;
  const stream = `${worker.id}/nats`;
  const auth = { passwordSecret: 'queue' };
  reader.follow([
    metric(list, { $case: 'redisList', value: { address: 'queue:6379', key: 'jobs', auth } }),
    metric(lost, { $case: 'redisList', value: { address: '127.0.0.1:1', key: 'jobs', auth } }),
    metric(stream, {
      $case: 'nats',
      value: { url: `nats://127.0.0.1:${nats.port}`, stream: 'S', consumer: 'C' },
    }),
    metric(`${worker.id}/cpu`, { $case: 'cpu', value: { utilization: 0.7 } }),
  ]);
  await soon(() => readingOf(reader, list) === 2);
  await soon(() => /stream not found/.test(errorOf(reader, stream)));
  await soon(() => /refused/i.test(errorOf(reader, lost)));
  await soon(() => /cpu is no metric/.test(errorOf(reader, `${worker.id}/cpu`)));

  await redis.kill();
  await soon(() => errorOf(reader, list) !== '');
  await redis.start();
  await soon(() => readingOf(reader, list) === 2);

  await client.config('SET', 'requirepass', 'hunter3');
  const stored = store.get('secret', secret.id);
  if (stored?.spec === undefined) return t.fail();
  const rotated = { ...stored, spec: { ...stored.spec, data: Buffer.from('hunter3') } };
  await writer.write([updateAction('secret', rotated)]);
  await client.rpush('jobs', 'c');
  await soon(() => readingOf(reader, list) === 3);

  await reader.close();
  t.is(reader.latest(list), undefined);
  await soon(
    async () =>
      String(await client.client('LIST'))
        .trim()
        .split('\n').length === 1,
  );
  t.true(log.all.length >= 5);
  t.deepEqual(
    log.all.filter((line) => line.includes('hunter')),
    [],
  );
});

test('a manager without such metrics does not load the clients', (t) => {
  const file = fileURLToPath(
    new URL('../../../../manager/autoscaler/sources/io/outside-reader.ts', import.meta.url),
  );
  const program = `
    import { createRequire } from 'node:module';
    const { createOutsideReader } = await import(${JSON.stringify(file)});
    createOutsideReader({});
    const files = Object.keys(createRequire('/').cache);
    console.log(files.filter((name) => /ioredis|nats-io/.test(name)).length);
    await import('ioredis');
    const then = Object.keys(createRequire('/').cache);
    console.log(then.some((name) => /ioredis/.test(name)));
  `;
  const out = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  t.deepEqual(out.trim().split('\n'), ['0', 'true']);
});
