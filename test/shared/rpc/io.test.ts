import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import anyTest, { type TestFn } from 'ava';
import { isShoalError, NotLeaderError, ShoalError } from '../../../shared/errors.ts';
import { CertificateAuthorityService } from '../../../shared/gen/shoal/v1/ca.ts';
import { systemRandom } from '../../../shared/io/system.ts';
import { IdentityHolder, type TlsIdentity } from '../../../shared/pki/identity.ts';
import { fetchRootCertificate } from '../../../shared/pki/io/fetch-root.ts';
import { createRootCa, rootDigest } from '../../../shared/pki/io/x509.ts';
import { formatJoinToken, newJoinSecret } from '../../../shared/pki/join-token.ts';
import type { CertificateRole } from '../../../shared/pki/roles.ts';
import type { Caller } from '../../../shared/rpc/caller.ts';
import {
  bidiStream,
  clientStream,
  clusterCredentials,
  localCredentials,
  openChannel,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import {
  handleBidi,
  handleServerStream,
  handleUnary,
  RpcServer,
} from '../../../shared/rpc/io/server.ts';
import { issueIdentity } from '../../support/identity.ts';
import { textMethod } from '../../support/text-method.ts';

const Echo = {
  whoAmI: textMethod('/test.Echo/WhoAmI'),
  command: textMethod('/test.Echo/Command'),
  fail: textMethod('/test.Echo/Fail'),
  hang: textMethod('/test.Echo/Hang'),
  count: textMethod('/test.Echo/Count', false, true),
  mirror: textMethod('/test.Echo/Mirror', true, true),
  gather: textMethod('/test.Echo/Gather', true, true),
};

const CLUSTER = 'cluster1';
const ca = createRootCa();

function identityOf(
  role: CertificateRole,
  options: {
    ca?: typeof ca;
    roots?: string;
    clusterId?: string;
    nodeId?: string;
    nowMs?: number;
  } = {},
): TlsIdentity {
  const {
    ca: issuer = ca,
    nodeId = `${role}-node`,
    clusterId = CLUSTER,
    roots,
    ...validity
  } = options;
  const identity = issueIdentity(issuer, nodeId, role, clusterId, validity);
  // What it trusts may differ from what vouches for it.
  return { ...identity, rootsPem: roots ?? issuer.certificatePem };
}

/** The rules of the managers are their own (manager/rpc/authorisation.ts); this is what they judge by. */
function admit(caller: Caller | undefined, ...roles: readonly CertificateRole[]): void {
  if (caller === undefined) throw new ShoalError('unauthenticated', 'no certificate');
  if (caller.clusterId !== CLUSTER || !roles.includes(caller.role)) {
    throw new ShoalError('permission-denied', `not for a ${caller.role} of ${caller.clusterId}`);
  }
}

type Seen = { produced: number; aborted: number; ended: number; hanging: (() => void)[] };
type Context = { rpc: RpcServer; port: number; folder: string; seen: Seen; holder: IdentityHolder };
const test = anyTest as TestFn<Context>;

test.beforeEach(async (t) => {
  const seen: Seen = { produced: 0, aborted: 0, ended: 0, hanging: [] };
  const holder = new IdentityHolder(identityOf('manager', { nodeId: 'server' }));
  const rpc = new RpcServer({ identity: holder });
  rpc.serve(Echo, {
    whoAmI: handleUnary((_request, { caller }) => JSON.stringify(caller ?? null)),
    command: handleUnary((request, { caller }) => {
      admit(caller, 'manager');
      return request;
    }),
    fail: handleUnary((request) => {
      if (request === 'leader') throw new NotLeaderError('node7');
      if (request === 'bug') throw new TypeError('a bug');
      throw new ShoalError('out-of-sequence', request);
    }),
    hang: handleUnary(
      (_request, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            seen.aborted++;
            reject(signal.reason);
          });
          for (const wake of seen.hanging.splice(0)) wake();
        }),
    ),
    count: handleServerStream(async function* (request, { signal }) {
      signal.addEventListener('abort', () => seen.aborted++);
      for (let i = 0; i < Number(request); i++) {
        seen.produced++;
        yield `${i} ${'x'.repeat(10_000)}`;
      }
      if (request === '3') throw new ShoalError('not-found', 'no more');
    }),
    mirror: handleBidi(async function* (requests, { caller, signal }) {
      signal.addEventListener('abort', () => seen.aborted++);
      admit(caller, 'manager', 'worker');
      for await (const request of requests) {
        if (request === 'stop') return;
        yield request.toUpperCase();
      }
      seen.ended++;
    }),
    gather: handleBidi(async function* (requests) {
      let length = 0;
      for await (const request of requests) {
        length += request.length;
        if (request.startsWith('stop')) break;
      }
      yield `${length}`;
    }),
  });
  rpc.serve(CertificateAuthorityService, {
    getRootCertificate: handleUnary(() => ({ certificatePem: ca.certificatePem })),
    issueNodeCertificate: handleUnary(() => {
      throw new ShoalError('unimplemented', 'not here');
    }),
    renewNodeCertificate: handleUnary(() => {
      throw new ShoalError('unimplemented', 'not here');
    }),
    recoverNodeCertificate: handleUnary(() => {
      throw new ShoalError('unimplemented', 'not here');
    }),
  });
  const folder = await mkdtemp(join(tmpdir(), 'shoal-rpc-'));
  const port = await rpc.listen('127.0.0.1:0');
  await rpc.listenLocal(join(folder, 'manager.sock'));
  t.context = { rpc, port, folder, seen, holder };
});

test.afterEach.always(async (t) => {
  await t.context.rpc.close(50);
  await rm(t.context.folder, { recursive: true, force: true });
});

function connect(context: Context, identity: TlsIdentity) {
  return openChannel(`127.0.0.1:${context.port}`, clusterCredentials(new IdentityHolder(identity)));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    return isShoalError(error) ? error.code : `not a ShoalError: ${String(error)}`;
  }
}

test('a manager is known by its certificate and may command', async (t) => {
  const channel = connect(t.context, identityOf('manager'));
  t.deepEqual(JSON.parse(await unary(channel, Echo.whoAmI, '-')), {
    nodeId: 'manager-node',
    role: 'manager',
    clusterId: CLUSTER,
    local: false,
  });
  t.is(await unary(channel, Echo.command, 'go'), 'go');
  channel.close();
});

test.serial('the certificate of a connection is read once, for all its calls', async (t) => {
  const readers: unknown[] = [];
  const { getPeerCertificate } = TLSSocket.prototype;
  t.teardown(() => Object.assign(TLSSocket.prototype, { getPeerCertificate }));
  function counted(this: TLSSocket) {
    // Clients look at what they connect to as well.
    if (this.localPort === t.context.port) readers.push(this);
    return getPeerCertificate.call(this);
  }
  Object.assign(TLSSocket.prototype, { getPeerCertificate: counted });
  const roles: CertificateRole[] = ['manager', 'worker'];
  const channels = roles.map((role) => connect(t.context, identityOf(role)));
  for (let round = 0; round < 3; round++) {
    const callers = channels.map((channel) => unary(channel, Echo.whoAmI, '-'));
    const seen = (await Promise.all(callers)).map((caller) => JSON.parse(caller).role);
    t.deepEqual(seen, roles);
  }
  t.is(readers.length, channels.length);
  for (const channel of channels) channel.close();
});

test("a worker's certificate is refused where a manager's is wanted", async (t) => {
  const channel = connect(t.context, identityOf('worker'));
  t.is(JSON.parse(await unary(channel, Echo.whoAmI, '-')).role, 'worker');
  t.is(await codeOf(unary(channel, Echo.command, 'go')), 'permission-denied');
  channel.close();
});

test("another cluster's certificate of the same root is refused", async (t) => {
  // Cannot happen unless roots are shared; the check must not rest on that.
  const identity = identityOf('manager', { clusterId: 'cluster2' });
  const asIfOurs = { ...identity, holder: { ...identity.holder, clusterId: CLUSTER } };
  const channel = connect(t.context, asIfOurs);
  t.is(await codeOf(unary(channel, Echo.command, 'go')), 'permission-denied');
  channel.close();
});

test('a certificate of another root makes an anonymous caller', async (t) => {
  const channel = connect(
    t.context,
    identityOf('manager', { ca: createRootCa(), roots: ca.certificatePem }),
  );
  t.is(await unary(channel, Echo.whoAmI, '-'), 'null');
  t.is(await codeOf(unary(channel, Echo.command, 'go')), 'unauthenticated');
  channel.close();
});

test('an expired certificate makes an anonymous caller', async (t) => {
  const old = identityOf('manager', { nowMs: Date.now() - 10 * 3_600_000 });
  const channel = connect(t.context, old);
  t.is(await unary(channel, Echo.whoAmI, '-'), 'null');
  channel.close();
});

test('a client refuses a server that is not a manager of its cluster', async (t) => {
  for (const replacement of [
    identityOf('worker'),
    identityOf('manager', { clusterId: 'cluster2' }),
    identityOf('manager', { ca: createRootCa() }),
  ]) {
    t.context.holder.replace(replacement);
    const channel = connect(t.context, identityOf('manager'));
    t.is(await codeOf(unary(channel, Echo.whoAmI, '-', { deadlineMs: 5_000 })), 'unavailable');
    channel.close();
  }
});

test('the server takes a renewed certificate for new connections while it runs', async (t) => {
  const next = createRootCa();
  t.context.holder.replace(
    identityOf('manager', { ca: next, roots: next.certificatePem + ca.certificatePem }),
  );
  const channel = connect(t.context, identityOf('manager', { roots: next.certificatePem }));
  t.is(JSON.parse(await unary(channel, Echo.whoAmI, '-')).nodeId, 'manager-node');
  channel.close();
});

test('the unix socket is private and its callers are the node itself', async (t) => {
  const path = join(t.context.folder, 'manager.sock');
  t.is((await stat(path)).mode & 0o777, 0o600);
  const channel = openChannel(`unix://${path}`, localCredentials());
  t.deepEqual(JSON.parse(await unary(channel, Echo.whoAmI, '-')), {
    nodeId: 'server',
    role: 'manager',
    clusterId: CLUSTER,
    local: true,
  });
  channel.close();
});

test('errors arrive as what they were', async (t) => {
  const channel = connect(t.context, identityOf('worker'));
  const error = await t.throwsAsync(unary(channel, Echo.fail, 'version 3 ≠ 4'));
  t.true(isShoalError(error, 'out-of-sequence'));
  t.is(error.message, 'version 3 ≠ 4');
  const hint = await t.throwsAsync(unary(channel, Echo.fail, 'leader'));
  t.is(hint instanceof NotLeaderError ? hint.leader : '?', 'node7');
  t.is(await codeOf(unary(channel, Echo.fail, 'bug')), 'internal');
  channel.close();
});

test('abort and deadline end a call on both sides', async (t) => {
  const { seen } = t.context;
  const channel = connect(t.context, identityOf('worker'));
  const abort = new AbortController();
  const started = new Promise<void>((resolve) => seen.hanging.push(resolve));
  const call = unary(channel, Echo.hang, '-', { signal: abort.signal });
  await started;
  abort.abort(new Error('changed my mind'));
  t.is(await codeOf(call), 'cancelled');
  t.is(await codeOf(unary(channel, Echo.hang, '-', { deadlineMs: 100 })), 'deadline-exceeded');
  t.is(await codeOf(unary(channel, Echo.hang, '-', { signal: abort.signal })), 'cancelled');
  while (seen.aborted < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  t.is(seen.aborted, 2);
  channel.close();
});

test('a call that mutates and loses its answer has an unknown outcome', async (t) => {
  const channel = connect(t.context, identityOf('worker'));
  const started = new Promise<void>((resolve) => t.context.seen.hanging.push(resolve));
  const outcome = codeOf(unary(channel, Echo.hang, '-', { mutates: true }));
  await started;
  await t.context.rpc.close(1);
  t.is(await outcome, 'unknown-outcome');
  t.is(
    await codeOf(unary(channel, Echo.command, '-', { mutates: true, deadlineMs: 2_000 })),
    'unavailable',
    'nothing was sent: not unknown',
  );
  channel.close();
});

test('a server stream is paced by its reader, ends with its error, and leaving it cancels it', async (t) => {
  const { seen } = t.context;
  const channel = connect(t.context, identityOf('worker'));
  const got: string[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const message of serverStream(channel, Echo.count, '3')) got.push(message);
  });
  t.true(isShoalError(error, 'not-found'));
  t.is(got.length, 3);
  seen.produced = 0;
  for await (const message of serverStream(channel, Echo.count, '100000')) {
    t.true(message.startsWith('0 '));
    await new Promise((resolve) => setTimeout(resolve, 200));
    break;
  }
  t.true(seen.produced < 5_000, `${seen.produced} messages made for a reader of one`);
  while (seen.aborted === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  t.pass();
  channel.close();
});

test('a bidirectional stream carries both directions until the server ends it', async (t) => {
  const channel = connect(t.context, identityOf('worker'));
  const call = bidiStream(channel, Echo.mirror);
  await call.send('one');
  await call.send('two');
  const got: string[] = [];
  for await (const message of call.responses) {
    got.push(message);
    if (got.length === 2) await call.send('stop');
  }
  t.deepEqual(got, ['ONE', 'TWO']);
  channel.close();
});

test('a client stream is answered when all was sent', async (t) => {
  const channel = connect(t.context, identityOf('worker'));
  const gather = { ...Echo.gather, responseStream: false as const };
  async function* sent() {
    yield* ['a', 'b', 'c'];
  }
  t.is(await clientStream(channel, gather, sent()), '3');
  channel.close();
});

test('a client stream lets go of its source when the server wants no more of it', async (t) => {
  const channel = connect(t.context, identityOf('worker'));
  const gather = { ...Echo.gather, responseStream: false as const };
  const left = Promise.withResolvers<void>();
  async function* endless() {
    try {
      for (;;) yield `stop${'x'.repeat(100_000)}`;
    } finally {
      left.resolve();
    }
  }
  t.is(await clientStream(channel, gather, endless()), '100004');
  await left.promise;
  channel.close();
});

test('a bidirectional stream is cancelled by abort, and refused to strangers', async (t) => {
  const { seen } = t.context;
  const abort = new AbortController();
  const channel = connect(t.context, identityOf('worker'));
  const call = bidiStream(channel, Echo.mirror, { signal: abort.signal });
  await call.send('one');
  const reading = codeOf(
    (async () => {
      for await (const _ of call.responses) abort.abort(new Error('enough'));
    })(),
  );
  t.is(await reading, 'cancelled');
  while (seen.aborted === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  t.is(seen.ended, 0, 'a lost client does not look like one that said goodbye');
  channel.close();
  const stranger = connect(
    t.context,
    identityOf('worker', { ca: createRootCa(), roots: ca.certificatePem }),
  );
  const refused = bidiStream(stranger, Echo.mirror);
  t.is(
    await codeOf((async () => refused.responses[Symbol.asyncIterator]().next())()),
    'unauthenticated',
  );
  stranger.close();
});

test('fetchRootCertificate() believes only the root that the token pins', async (t) => {
  const target = `127.0.0.1:${t.context.port}`;
  const secret = newJoinSecret(systemRandom);
  const token = formatJoinToken({ rootDigest: rootDigest(ca.certificatePem), secret });
  t.is(await fetchRootCertificate({ target, token }), ca.certificatePem);
  const other = formatJoinToken({ rootDigest: rootDigest(createRootCa().certificatePem), secret });
  t.is(await codeOf(fetchRootCertificate({ target, token: other })), 'permission-denied');
});
