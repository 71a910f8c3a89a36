// Against Debian's nats-server.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { type NatsConnection as Client, connect, nkeys } from '@nats-io/transport-node';
import test, { type ExecutionContext } from 'ava';
import { Connections } from '../../../../manager/autoscaler/sources/connections.ts';
import { type NatsConnection, natsSource } from '../../../../manager/autoscaler/sources/io/nats.ts';
import { NatsMetric } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { freePort } from '../../../support/ports.ts';
import { soon, TestServer, testCertificate } from './support/servers.ts';
import { FakeStore, failure, read } from './support/sources.ts';

const { createAccount, createOperator, createUser } = nkeys;
type KeyPair = ReturnType<typeof createUser>;
type Fields = Parameters<typeof NatsMetric.fromPartial>[0];

function seedOf(pair: KeyPair): string {
  return new TextDecoder().decode(pair.getSeed());
}

/** A JWT of NATS: what `subject` is, signed by `issuer`. */
function signed(issuer: KeyPair, subject: string, nats: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    jti: 'test',
    iat: 1_700_000_000,
    iss: issuer.getPublicKey(),
    sub: subject,
    nats,
  };
  const text = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part({ ...claims, name: 'test' })}`;
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString('base64url')}`;
}

/** Options of a server with this in its file of settings. */
function configured(t: Pick<ExecutionContext, 'teardown'>, text: string): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'shoal-source-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'nats.conf');
  writeFileSync(path, text);
  return ['-c', path];
}

class Bench {
  readonly server: TestServer;
  readonly store = new FakeStore();
  readonly connections = new Connections<NatsConnection>();

  private constructor(server: TestServer) {
    this.server = server;
  }

  static async start(...options: readonly string[]): Promise<Bench> {
    return new Bench(await TestServer.nats(...options));
  }

  get url(): string {
    return `nats://127.0.0.1:${this.server.port}`;
  }

  source(fields: Fields = {}) {
    const named = { url: this.url, stream: 'JOBS', consumer: 'workers', ...fields };
    return natsSource(NatsMetric.fromPartial(named), this.store.access(), this.connections);
  }

  /** The test's own hand. */
  async with<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await connect({ servers: this.url });
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }

  /** A stream of `count` messages, and its consumer. */
  async fill(count: number): Promise<void> {
    await this.with(async (client) => {
      const manager = await jetstreamManager(client, { checkAPI: false });
      await manager.streams.add({ name: 'JOBS', subjects: ['jobs'] });
      await manager.consumers.add('JOBS', {
        durable_name: 'workers',
        ack_policy: AckPolicy.Explicit,
      });
      const stream = jetstream(client);
      for (let n = 0; n < count; n++) await stream.publish('jobs', String(n));
    });
  }

  stop(): Promise<void> {
    return this.server.remove();
  }
}

test('the backlog of a consumer is what it did not get and what it did not acknowledge', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.fill(7);
  const source = bench.source();
  t.is(await read(source), 7);
  await bench.with(async (client) => {
    const consumer = await jetstream(client).consumers.get('JOBS', 'workers');
    const taken = await consumer.fetch({ max_messages: 3, expires: 2_000 });
    let acknowledged = 0;
    for await (const message of taken) {
      if (acknowledged === 2) continue;
      await message.ackAck();
      acknowledged += 1;
    }
  });
  t.is(await read(source), 5, 'one was delivered and is not done');
  source.close();
});

test('a stream or consumer that is missing is an error with its name, and not 0', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.fill(1);
  t.regex(await failure(bench.source({ stream: 'OTHER' })), /stream OTHER.*stream not found/);
  t.regex(await failure(bench.source({ consumer: 'gone' })), /consumer gone.*consumer not found/);
  t.is(await read(bench.source()), 1);
  t.is(bench.connections.size, 1, 'they share a connection');
});

test('a wrong password is an error without the password; a changed secret is used from then on', async (t) => {
  const bench = await Bench.start('--user', 'me', '--pass', 'hunter2');
  t.teardown(() => bench.stop());
  bench.store.secrets.set('nats', 'hunter3');
  const source = bench.source({ auth: { username: 'me', passwordSecret: 'nats' } });
  const wrong = await failure(source);
  t.regex(wrong, /authorization violation/i);
  t.notRegex(wrong, /hunter/);
  t.regex(await failure(bench.source()), /authorization violation/i);
  bench.store.secrets.set('nats', 'hunter2');
  t.regex(await failure(source), /stream not found/, 'it was let in');
});

test('a token is sent where a secret of one is named', async (t) => {
  const bench = await Bench.start('--auth', 'the-token');
  t.teardown(() => bench.stop());
  bench.store.secrets.set('nats', 'the-token\n');
  t.regex(await failure(bench.source({ auth: { tokenSecret: 'nats' } })), /stream not found/);
});

test('a server without JetStream is an error', async (t) => {
  const server = await TestServer.natsWithoutJetStream();
  t.teardown(() => server.remove());
  const store = new FakeStore();
  const metric = { url: `nats://127.0.0.1:${server.port}`, stream: 'S', consumer: 'C' };
  const source = natsSource(NatsMetric.fromPartial(metric), store.access(), new Connections());
  t.regex(await failure(source), /jetstream/i);
  source.close();
});

test('a server that is killed under a question fails it, and is read again when it is back', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.fill(4);
  const source = bench.source();
  t.is(await read(source), 4);
  await bench.server.pause();
  const asked = failure(source);
  await delay(100);
  await bench.server.kill();
  t.notRegex(await asked, /it answered/);
  t.regex(await failure(source), /ECONNREFUSED/);
  await bench.server.start();
  let value = 0;
  await soon(async () => {
    value = await read(source).catch(() => -1);
    return value >= 0;
  });
  t.is(value, 4);
  source.close();
});

test('a server that hangs fails the question in time; the connection is used again when it goes on', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.fill(2);
  const source = bench.source();
  t.is(await read(source), 2);
  await bench.server.pause();
  t.regex(await failure(source), /timeout|time-out|timed out/i);
  bench.server.resume();
  t.is(await read(source), 2);
  source.close();
});

for (const [title, greet, message] of [
  ['says nothing', () => undefined, /does not say what it is/],
  ['hangs up', (socket) => socket.destroy(), /no server of NATS/],
  ['speaks another protocol', (socket) => socket.write('220 smtp\r\n'), /no server of NATS/],
  ['says no end', (socket) => socket.write('x'.repeat(300_000)), /no server of NATS/],
] as const satisfies readonly (readonly [string, (socket: Socket) => unknown, RegExp])[]) {
  test(`a server that ${title} is an error, and keeps no socket`, async (t) => {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined); // the other side hangs up on some
      socket.once('close', () => sockets.delete(socket));
      socket.resume();
      greet(socket);
    });
    const port = await freePort();
    const listening = Promise.withResolvers<void>();
    server.listen(port, '127.0.0.1', () => listening.resolve());
    await listening.promise;
    t.teardown(() => server.close());
    const metric = { url: `nats://127.0.0.1:${port}`, stream: 'S', consumer: 'C' };
    const access = new FakeStore().access();
    const source = natsSource(NatsMetric.fromPartial(metric), access, new Connections());
    t.regex(await failure(source), message);
    t.regex(await failure(source), message);
    await soon(() => sockets.size === 0);
  });
}

test('of several servers the next one is tried after a failure', async (t) => {
  const bench = await Bench.start();
  t.teardown(() => bench.stop());
  await bench.fill(3);
  const source = bench.source({ url: `nats://127.0.0.1:${await freePort()},${bench.url}` });
  t.regex(await failure(source), /ECONNREFUSED/);
  t.is(await read(source), 3);
  t.is(await read(source), 3, 'and stays in use');
  source.close();
});

test('with tls:// the name in the certificate counts; a server that has no TLS is refused', async (t) => {
  const files = testCertificate('nats');
  const server = await TestServer.nats('--tls', '--tlscert', files.cert, '--tlskey', files.key);
  const bench = await Bench.start();
  t.teardown(async () => {
    await Promise.all([server.remove(), bench.stop()]);
    rmSync(files.dir, { recursive: true });
  });
  bench.store.secrets.set('ca', readFileSync(files.ca, 'utf8'));
  for (const name of ['nats', 'other']) bench.store.publish(name, 4222, server.port);
  const at = (url: string, caSecret: string) => failure(bench.source({ url, auth: { caSecret } }));
  t.regex(await at('tls://nats:4222', 'ca'), /stream not found/);
  t.regex(await at('tls://nats:4222', ''), /certificate/);
  t.regex(await at('nats://nats:4222', 'ca'), /stream not found/);
  t.regex(await at('nats://nats:4222', ''), /the server wants TLS: write tls:/);
  t.regex(await at('tls://other:4222', 'ca'), /altnames/);
  t.regex(await at(bench.url.replace('nats://', 'tls://'), 'ca'), /does not support 'tls'/);
});

test('a credentials file, or the seed of an nkey alone, is signed with', async (t) => {
  const user = createUser();
  const seed = new TextDecoder().decode(user.getSeed());
  const config = `authorization { users = [ { nkey: ${user.getPublicKey()} } ] }`;
  const bench = await Bench.start(...configured(t, config));
  t.teardown(() => bench.stop());
  const source = (credentialsSecret: string) => bench.source({ auth: { credentialsSecret } });
  bench.store.secrets.set('nkey', `${seed}\n`).set('other', seedOf(createUser())).set('no', 'SUX');
  t.regex(await failure(source('nkey')), /stream not found/, 'it was let in');
  const refused = await failure(source('other'));
  t.regex(refused, /authorization violation/i);
  t.notRegex(refused, /SU[A-Z2-7]{20}/);
  t.regex(await failure(source('no')), /is no credentials file of NATS and no seed of a user/);
  t.regex(await failure(bench.source()), /authorization violation/i);
});

test('a credentials file of a user whom an account of an operator signed is let in', async (t) => {
  const [operator, system, account, user] = [
    createOperator(),
    createAccount(),
    createAccount(),
    createUser(),
  ];
  const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true };
  const connections = { conn: -1, leaf: -1 };
  const jetStream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const accountJwt = (of: KeyPair, more: object) =>
    signed(operator, of.getPublicKey(), {
      type: 'account',
      version: 2,
      limits: { ...limits, ...connections, ...more },
    });
  const operatorJwt = signed(operator, operator.getPublicKey(), { type: 'operator', version: 2 });
  const userJwt = signed(account, user.getPublicKey(), {
    type: 'user',
    version: 2,
    subs: -1,
    data: -1,
    payload: -1,
  });
  const config = `operator: ${operatorJwt}
system_account: ${system.getPublicKey()}
resolver: MEMORY
resolver_preload: {
  ${system.getPublicKey()}: ${accountJwt(system, {})}
  ${account.getPublicKey()}: ${accountJwt(account, jetStream)}
}`;
  const bench = await Bench.start(...configured(t, config));
  t.teardown(() => bench.stop());
  const file = (jwt: string) => `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
${seedOf(user)}
------END USER NKEY SEED------

*************************************************************
`;
  bench.store.secrets
    .set('creds', file(userJwt))
    .set('expired', file(`${userJwt.slice(0, -3)}AAA`));
  const source = (credentialsSecret: string) => bench.source({ auth: { credentialsSecret } });
  t.regex(await failure(source('creds')), /stream not found/, 'it was let in');
  t.regex(await failure(source('expired')), /authorization violation/i);
});

test('a certificate of this side is shown where the server asks for one', async (t) => {
  const files = testCertificate('nats');
  const tls = ['--tlsverify', '--tlscert', files.cert, '--tlskey', files.key];
  const server = await TestServer.nats(...tls, '--tlscacert', files.ca);
  t.teardown(async () => {
    await server.remove();
    rmSync(files.dir, { recursive: true });
  });
  const store = new FakeStore();
  const pem = (...paths: string[]) => paths.map((path) => readFileSync(path, 'utf8')).join('');
  store.secrets.set('ca', pem(files.ca)).set('both', pem(files.cert, files.key));
  store.secrets.set('no-key', pem(files.cert));
  store.publish('nats', 4222, server.port);
  const at = (certificateSecret: string) =>
    failure(
      natsSource(
        NatsMetric.fromPartial({
          url: 'tls://nats:4222',
          stream: 'JOBS',
          consumer: 'workers',
          auth: { caSecret: 'ca', certificateSecret },
        }),
        store.access(),
        new Connections(),
      ),
    );
  t.regex(await at('both'), /stream not found/);
  t.notRegex(await at(''), /stream not found|it answered/);
  t.regex(await at('no-key'), /no PEM certificate with its private key/);
});
