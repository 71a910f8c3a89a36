import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Metadata, type MethodDefinition, type ServiceError } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { grpcManagerLink } from '../../../agent/session/io/manager-link.ts';
import { ACCESS, type CallerKind, type MethodPath } from '../../../manager/rpc/authorisation.ts';
import type { Store } from '../../../manager/store/store.ts';
import { createAction, removeAction, updateAction } from '../../../manager/store/tables.ts';
import { isShoalError, messageOf } from '../../../shared/errors.ts';
import { CertificateAuthorityService } from '../../../shared/gen/shoal/v1/ca.ts';
import { ControlService, WatchRequest } from '../../../shared/gen/shoal/v1/control.ts';
import { DispatcherService } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { LogPublication } from '../../../shared/gen/shoal/v1/logs.ts';
import { NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import { IdentityHolder } from '../../../shared/pki/identity.ts';
import {
  createKeyAndCsr,
  createRootCa,
  parseCertificate,
  rootDigest,
} from '../../../shared/pki/io/x509.ts';
import { formatJoinToken } from '../../../shared/pki/join-token.ts';
import {
  type Channel,
  clusterCredentials,
  clusterRootCredentials,
  localCredentials,
  openChannel,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import { clusterLink, parseTarget } from '../../../shared/rpc/io/cluster-listener.ts';
import { LinkClient } from '../../../shared/rpc/io/link-client.ts';
import { linkPathOf } from '../../../shared/rpc/io/link-socket.ts';
import { RpcServer } from '../../../shared/rpc/io/server.ts';
import { issueIdentity } from '../../support/identity.ts';
import { JOIN_SECRETS, startManager as startAnyManager } from '../../support/manager.ts';
import { nodeFixture } from '../../support/objects.ts';

const CLUSTER = 'c'.repeat(25);
const SELF = 'self'.padEnd(25, '0');
const MANAGER = 'manager'.padEnd(25, '0');
const WORKER = 'worker'.padEnd(25, '0');
const DEMOTED = 'demoted'.padEnd(25, '0');
const REMOVED = 'removed'.padEnd(25, '0');
const _HOUR_MS = 3_600_000;
const root = createRootCa();
const otherRoot = createRootCa();

type Started = Awaited<ReturnType<typeof startManager>>;
type Certificate = Readonly<{
  nodeId: string;
  role: 'manager' | 'worker';
  clusterId?: string;
  by?: typeof root;
  validityMs?: number;
}>;

function identityOf({ nodeId, role, clusterId = CLUSTER, by = root, validityMs }: Certificate) {
  const validity = validityMs === undefined ? {} : { validityMs };
  return new IdentityHolder({
    ...issueIdentity(by, nodeId, role, clusterId, validity),
    rootsPem: root.certificatePem,
    holder: { nodeId, role, clusterId: CLUSTER },
  });
}

async function startManager(t: Pick<ExecutionContext, 'teardown'>) {
  const manager = await startAnyManager(t, { root, clusterId: CLUSTER, nodeId: SELF });
  const node = (id: string, role: NodeRole) =>
    createAction('node', nodeFixture({ id, spec: { role } }));
  await manager.writer.write([
    node(MANAGER, NodeRole.MANAGER),
    node(WORKER, NodeRole.WORKER),
    node(DEMOTED, NodeRole.WORKER),
  ]);
  return manager;
}

const CALLERS: readonly Readonly<{
  who: string;
  /** What the caller counts as in the table. */
  as: CallerKind;
  certificate?: Certificate;
  /** Of the refusal by whoever is none of `as`. */
  code: 'unauthenticated' | 'permission-denied';
}>[] = [
  { who: 'no certificate', as: 'none', code: 'unauthenticated' },
  {
    who: 'a manager’s certificate of another cluster’s root',
    as: 'none',
    certificate: { nodeId: MANAGER, role: 'manager', by: otherRoot },
    code: 'unauthenticated',
  },
  {
    who: 'a manager’s certificate that expired',
    as: 'none',
    certificate: { nodeId: MANAGER, role: 'manager', validityMs: -60_000 },
    code: 'unauthenticated',
  },
  {
    who: 'a manager’s certificate by the right root that names another cluster',
    as: 'none',
    certificate: { nodeId: MANAGER, role: 'manager', clusterId: 'other' },
    code: 'permission-denied',
  },
  {
    who: 'the manager’s certificate of a node that was removed',
    as: 'none',
    certificate: { nodeId: REMOVED, role: 'manager' },
    code: 'permission-denied',
  },
  {
    who: 'the manager’s certificate of a node that was demoted',
    as: 'worker',
    certificate: { nodeId: DEMOTED, role: 'manager' },
    code: 'permission-denied',
  },
  {
    who: 'a worker’s certificate',
    as: 'worker',
    certificate: { nodeId: WORKER, role: 'worker' },
    code: 'permission-denied',
  },
  {
    who: 'a worker’s certificate in the name of a manager',
    as: 'worker',
    certificate: { nodeId: MANAGER, role: 'worker' },
    code: 'permission-denied',
  },
  {
    who: 'a manager’s certificate',
    as: 'manager',
    certificate: { nodeId: MANAGER, role: 'manager' },
    code: 'permission-denied',
  },
  { who: 'the local socket', as: 'local', code: 'permission-denied' },
];

/** What the guard says, and nobody else. */
const GUARD_WORDS =
  /needs a client certificate|is of cluster|was removed|only managers may call|by its local socket|not for the local socket|not for everybody/;
const CODES: Readonly<Record<number, string>> = { 7: 'permission-denied', 16: 'unauthenticated' };
const METHODS = [
  ControlService,
  DispatcherService,
  CertificateAuthorityService,
  PeerService,
].flatMap((service) => Object.values(service) as MethodDefinition<unknown, unknown>[]);

/** The code of the guard's refusal; `reached` when the call came as far as its handler. */
function outcome(
  channel: Channel,
  method: MethodDefinition<unknown, unknown>,
  withinMs: number,
): Promise<string> {
  const { path, requestStream, responseStream, requestSerialize, responseDeserialize } = method;
  const options = { deadline: Date.now() + withinMs };
  const args = [path, requestSerialize, responseDeserialize] as const;
  // Every message of the schema can be decoded from nothing.
  const empty = method.requestDeserialize(Buffer.alloc(0));
  return new Promise((resolve) => {
    const done = (error: ServiceError | null | undefined) => {
      const isRefusal = error && GUARD_WORDS.test(error.details);
      resolve(isRefusal ? (CODES[error.code] ?? String(error.code)) : 'reached');
    };
    const metadata = new Metadata();
    if (requestStream) {
      const call = channel.makeBidiStreamRequest(...args, metadata, options);
      call.on('data', () => done(undefined));
      call.on('error', (error) => done(error as ServiceError));
      call.on('end', () => done(undefined));
      call.write(empty);
      call.end();
    } else if (responseStream) {
      const call = channel.makeServerStreamRequest(...args, empty, metadata, options);
      call.on('data', () => {
        done(undefined);
        call.cancel();
      });
      call.on('error', (error) => done(error as ServiceError));
      call.on('end', () => done(undefined));
    } else channel.makeUnaryRequest(...args, empty, metadata, options, done);
  });
}

for (const { who, as, certificate, code } of CALLERS) {
  test(`with ${who} each method is answered as the table says`, async (t) => {
    const { address, socket } = await startManager(t);
    const credentials =
      certificate === undefined
        ? clusterRootCredentials(root.certificatePem)
        : clusterCredentials(identityOf(certificate));
    const channel =
      as === 'local'
        ? openChannel(`unix://${socket}`, localCredentials())
        : openChannel(address, credentials);
    t.teardown(() => channel.close());
    t.is(METHODS.length, Object.keys(ACCESS).length);
    for (const method of METHODS) {
      const isAllowed = ACCESS[method.path as MethodPath].includes(as);
      // A handler that was reached may have nothing to say for ever.
      const got = await outcome(channel, method, isAllowed ? 1_000 : 20_000);
      t.is(got, isAllowed ? 'reached' : code, method.path);
    }
  });
}

/** The methods that links carry: what takes one request. */
const LINK_METHODS = METHODS.filter(({ requestStream }) => !requestStream);

/** A link's connection by any certificate, or none: the real client would not even ask without a right one. */
function linkTo(address: string, certificate: Certificate | undefined): LinkClient {
  const { host, port } = parseTarget(address);
  const own = certificate && identityOf(certificate).current();
  return new LinkClient(() =>
    connectTls({
      host,
      port,
      ca: root.certificatePem,
      ...(own && { cert: own.certificatePem, key: own.keyPem }),
      ALPNProtocols: ['shoal-calls'],
      minVersion: 'TLSv1.3',
      checkServerIdentity: () => undefined,
    }),
  );
}

async function linkOutcome(
  link: LinkClient,
  method: MethodDefinition<unknown, unknown>,
  deadlineMs: number,
): Promise<string> {
  const empty = method.requestDeserialize(Buffer.alloc(0));
  try {
    if (method.responseStream) {
      const stop = new AbortController();
      const heard = () => stop.abort();
      await link.each(method, empty, heard, { deadlineMs, signal: stop.signal });
    } else await link.unary(method, empty, { deadlineMs });
  } catch (error) {
    if (isShoalError(error) && GUARD_WORDS.test(error.message)) return error.code;
    // Neither may count as having come as far as a handler.
    if (isShoalError(error, 'unimplemented') || /No connection established/.test(messageOf(error)))
      return messageOf(error);
  }
  return 'reached';
}

for (const { who, as, certificate, code } of CALLERS) {
  test(`by a link with ${who} each method is answered as the table says`, async (t) => {
    const { address, socket } = await startManager(t);
    const link =
      as === 'local'
        ? new LinkClient(() => connect(linkPathOf(socket)))
        : linkTo(address, certificate);
    t.teardown(() => link.close());
    t.true(LINK_METHODS.length > 20);
    for (const method of LINK_METHODS) {
      const isAllowed = ACCESS[method.path as MethodPath].includes(as);
      const got = await linkOutcome(link, method, isAllowed ? 1_000 : 20_000);
      t.is(got, isAllowed ? 'reached' : code, method.path);
    }
  });
}

for (const { who, as, certificate } of CALLERS) {
  if (certificate === undefined) continue; // it always has one
  test(`a manager’s own link by ${who} carries calls only for a manager`, async (t) => {
    const { address } = await startManager(t);
    const link = clusterLink(address, identityOf(certificate));
    t.teardown(() => link.close());
    const call = () => link.unary(ControlService.getCluster, {}, { deadlineMs: 20_000 });
    if (as === 'manager') await t.notThrowsAsync(call);
    else t.regex(await refusal(t, call), /^(permission-denied|unauthenticated|unavailable)/);
  });
}

test('a link goes to no server but a manager of the same cluster', async (t) => {
  const caller = identityOf({ nodeId: MANAGER, role: 'manager' });
  for (const [what, certificate] of [
    ['a worker', { nodeId: WORKER, role: 'worker' }],
    ['another cluster’s root', { nodeId: SELF, role: 'manager', by: otherRoot }],
    ['another cluster by the same root', { nodeId: SELF, role: 'manager', clusterId: 'other' }],
    ['an expired certificate', { nodeId: SELF, role: 'manager', validityMs: -60_000 }],
  ] as const) {
    const server = new RpcServer({ identity: identityOf(certificate) });
    t.teardown(() => server.close(0));
    const address = `127.0.0.1:${await server.listen('127.0.0.1:0')}`;
    const link = clusterLink(address, caller);
    t.teardown(() => link.close());
    const call = () => link.unary(ControlService.getCluster, {}, { deadlineMs: 20_000 });
    t.regex(await refusal(t, call), /^unavailable: No connection established/, what);
  }
});

for (const [how, by, revoke] of [
  [
    'its node is removed',
    root,
    async ({ writer }: Started) => {
      await writer.write([removeAction('node', MANAGER)]);
    },
  ],
  [
    'its root is dropped',
    otherRoot,
    async ({ identity }: Started) => {
      identity.replace({ ...identity.current(), rootsPem: root.certificatePem });
    },
  ],
] as const) {
  test(`an open link carries no calls any more when ${how}`, async (t) => {
    const started = await startManager(t);
    const { address, identity } = started;
    const rootsPem = root.certificatePem + otherRoot.certificatePem;
    identity.replace({ ...identity.current(), rootsPem });
    const link = linkTo(address, { nodeId: MANAGER, role: 'manager', by });
    const present = linkTo(address, { nodeId: SELF, role: 'manager' });
    t.teardown(() => {
      for (const each of [link, present]) each.close();
    });
    const call = (by: LinkClient) => () => by.unary(ControlService.getCluster, {});
    await t.notThrowsAsync(call(link));
    await t.notThrowsAsync(call(present));
    await revoke(started);
    t.regex(await refusal(t, call(link)), /^(permission-denied|unauthenticated|unavailable)/);
    await t.notThrowsAsync(call(present));
  });
}

async function refusal(t: ExecutionContext, call: () => Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call);
  return isShoalError(error) ? `${error.code}: ${error.message}` : messageOf(error);
}

test('a stale token lets nobody in', async (t) => {
  const { store, writer, address } = await startManager(t);
  const stored = store.cluster();
  if (stored?.rootCa === undefined) throw new Error('no cluster');
  const rootCa = { ...stored.rootCa, workerSecret: 'x'.repeat(25) };
  await writer.write([updateAction('cluster', { ...stored, rootCa })]);
  const channel = openChannel(address, clusterRootCredentials(root.certificatePem));
  t.teardown(() => channel.close());
  const join = (digest: string, secret: string) =>
    unary(channel, CertificateAuthorityService.issueNodeCertificate, {
      token: formatJoinToken({ rootDigest: digest, secret }),
      csrPem: createKeyAndCsr().csrPem,
      availability: 0,
    });
  const digest = rootDigest(root.certificatePem);
  t.regex(
    await refusal(t, () => join(digest, JOIN_SECRETS.workerSecret)),
    /^permission-denied: invalid join/,
  );
  const foreign = rootDigest(otherRoot.certificatePem);
  t.regex(
    await refusal(t, () => join(foreign, 'x'.repeat(25))),
    /^permission-denied: invalid join/,
  );
  t.is((await join(digest, 'x'.repeat(25))).role, NodeRole.WORKER);
});

test('a worker cannot act in the name of another node, by whatever it claims', async (t) => {
  const { address } = await startManager(t);
  const channel = openChannel(
    address,
    clusterCredentials(identityOf({ nodeId: WORKER, role: 'worker' })),
  );
  t.teardown(() => channel.close());
  const { csrPem } = createKeyAndCsr();
  const metadata = { 'shoal-forwarded': MANAGER, 'shoal-forwarded-for': MANAGER };
  const answer = await unary(
    channel,
    CertificateAuthorityService.renewNodeCertificate,
    { csrPem },
    { metadata },
  );
  t.like(parseCertificate(answer.certificatePem), { nodeId: WORKER, role: 'worker' });
  for (const kind of ['secret', 'task']) {
    const get = () => unary(channel, ControlService.get, { kind, id: 'x', stale: true });
    t.regex(await refusal(t, get), /^permission-denied/);
  }
});

test('a manager cannot speak for another one', async (t) => {
  const { address } = await startManager(t);
  const channel = openChannel(
    address,
    clusterCredentials(identityOf({ nodeId: MANAGER, role: 'manager' })),
  );
  t.teardown(() => channel.close());
  const digest = { managerId: SELF, sessions: [], departed: [] };
  for (const call of [
    () => unary(channel, PeerService.reportLiveness, { ...digest }),
    () =>
      unary(channel, PeerService.joinRaft, {
        nodeId: SELF,
        address: '127.0.0.1:1',
        raftAddress: '127.0.0.1:2',
        raftId: '',
      }),
  ]) {
    t.regex(await refusal(t, call), /^permission-denied: .*cannot speak for/);
  }
});

for (const [how, revoke] of [
  ['removed', () => [removeAction('node', MANAGER)]],
  [
    'demoted',
    (store: Store) => {
      const node = store.get('node', MANAGER);
      if (node?.spec === undefined) throw new Error('no node');
      return [updateAction('node', { ...node, spec: { ...node.spec, role: NodeRole.WORKER } })];
    },
  ],
] as const) {
  test(`the open streams of a manager that is ${how} are cut at once`, async (t) => {
    const { store, writer, address } = await startManager(t);
    const channel = openChannel(
      address,
      clusterCredentials(identityOf({ nodeId: MANAGER, role: 'manager' })),
    );
    t.teardown(() => channel.close());
    const request = WatchRequest.fromPartial({ kinds: ['node'], sinceMs: 1 });
    const stream = serverStream(channel, ControlService.watch, request);
    let past = 1; // changes before the present begins
    while (past > 0) past = (await stream.next()).value?.events.length ?? 0;
    const next = stream.next();
    await writer.write(revoke(store));
    const said = await refusal(t, async () => {
      // The change itself may still be told.
      if (!(await next).done) await stream.next();
    });
    t.regex(said, how === 'removed' ? /^permission-denied: .*removed/ : /only managers may call/);
  });
}

test('what an agent says after its first certificate expired goes by the next one', async (t) => {
  const { address } = await startManager(t);
  const identity = identityOf({ nodeId: WORKER, role: 'worker', validityMs: 6_000 });
  const { notAfterMs } = parseCertificate(identity.current().certificatePem);
  const link = grpcManagerLink(identity);
  const session = link.open(address);
  await session.send({
    message: { $case: 'hello', value: { description: undefined, address: '' } },
  });
  const messages = session.messages[Symbol.asyncIterator]();
  t.is((await messages.next()).value?.message?.$case, 'welcome');
  identity.replace(identityOf({ nodeId: WORKER, role: 'worker' }).current());
  await new Promise((resolve) => setTimeout(resolve, notAfterMs + 1 - Date.now()));
  const nothing = async function* () {
    yield LogPublication.fromPartial({ subscriptionId: 'none', done: true });
  };
  await t.notThrowsAsync(link.publish(address, nothing(), new AbortController().signal));
  await session.send({ message: { $case: 'heartbeat', value: { appliedRevision: 0 } } });
  session.cancel();
  link.close();
});

test('an open connection by a root that was dropped carries no calls any more', async (t) => {
  const { address, identity } = await startManager(t);
  const own = identity.current();
  const both = root.certificatePem + otherRoot.certificatePem;
  identity.replace({ ...own, rootsPem: both });
  const byOther = identityOf({ nodeId: MANAGER, role: 'manager', by: otherRoot });
  const [old, present] = [byOther, identityOf({ nodeId: MANAGER, role: 'manager' })].map((who) =>
    openChannel(address, clusterCredentials(who)),
  );
  if (old === undefined || present === undefined) throw new Error('no channels');
  t.teardown(() => {
    for (const channel of [old, present]) channel.close();
  });
  const call = (channel: Channel) => unary(channel, ControlService.getCluster, {});
  await t.notThrowsAsync(() => call(old));
  await t.notThrowsAsync(() => call(present));
  identity.replace({ ...own, rootsPem: root.certificatePem });
  t.regex(await refusal(t, () => call(old)), /^unauthenticated/);
  await t.notThrowsAsync(() => call(present));
});
