import { once } from 'node:events';
import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import anyTest, { type TestFn } from 'ava';
import { encodeMessage } from '../../../../manager/raft/codec.ts';
import {
  encodeFrames,
  encodeHello,
  FRAME,
  FrameReader,
  parseAddress,
} from '../../../../manager/raft/frames.ts';
import { TlsPeerTransport } from '../../../../manager/raft/io/peer-transport.ts';
import type { SnapshotSink, TransportEvents } from '../../../../manager/raft/ports.ts';
import type {
  Message,
  RaftId,
  SnapshotMeta,
  SnapshotRequest,
} from '../../../../manager/raft/types.ts';
import type { RaftMember } from '../../../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../../../shared/ids.ts';
import { systemRandom } from '../../../../shared/io/system.ts';
import { silentLog } from '../../../../shared/log.ts';
import { IdentityHolder, type TlsIdentity } from '../../../../shared/pki/identity.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import { CLUSTER_ID, issueIdentity } from '../../../support/identity.ts';
import { freePort } from '../../../support/ports.ts';
import { until } from './harness.ts';

/** One after the other: a link that is not up within its time loses what was to be sent by it. */
const test = anyTest.serial as TestFn<{ close: (() => Promise<unknown>)[] }>;
const ca = createRootCa();

test.beforeEach((t) => {
  t.context = { close: [] };
});
test.afterEach.always(async (t) => {
  for (const close of t.context.close.reverse()) await close();
});

const raftId = () => newId(systemRandom) as RaftId;

class Ear implements TransportEvents {
  messages: Message[] = [];
  unreachables: RaftId[] = [];
  sent: { to: RaftId; ok: boolean }[] = [];
  snapshots: { meta: SnapshotMeta; chunks: number[]; committed: boolean }[] = [];
  toldRemoved = false;
  removedIds: RaftId[] = [];
  message(message: Message): void {
    this.messages.push(message);
  }
  unreachable(id: RaftId): void {
    this.unreachables.push(id);
  }
  snapshotSent(to: RaftId, ok: boolean): void {
    this.sent.push({ to, ok });
  }
  receiveSnapshot(message: SnapshotRequest): SnapshotSink {
    const snapshot = { meta: message.snapshot, chunks: [] as number[], committed: false };
    this.snapshots.push(snapshot);
    return {
      write: (chunk) => void snapshot.chunks.push(chunk.length),
      commit: async () => {
        snapshot.committed = true;
      },
      abort: () => undefined,
    };
  }
  removed(): void {
    this.toldRemoved = true;
  }
  wasRemoved(id: RaftId): boolean {
    return this.removedIds.includes(id);
  }
}

type End = {
  id: RaftId;
  member: RaftMember;
  ear: Ear;
  transport: TlsPeerTransport;
  identity: IdentityHolder;
};
type Context = { close: (() => Promise<unknown>)[] };

async function end(
  context: Context,
  options: { identity?: (nodeId: string) => TlsIdentity; port?: number; id?: RaftId } = {},
): Promise<End> {
  const port = options.port ?? (await freePort());
  const nodeId = newId(systemRandom);
  const identity = new IdentityHolder(options.identity?.(nodeId) ?? issueIdentity(ca, nodeId));
  const raftAddress = `127.0.0.1:${port}`;
  const transport = new TlsPeerTransport({ listen: raftAddress, identity, log: silentLog });
  await transport.listen();
  const id = options.id ?? raftId();
  const ear = new Ear();
  context.close.push(() => transport.close());
  return {
    id,
    member: { raftId: id, nodeId, address: '', raftAddress },
    ear,
    transport,
    identity,
  };
}

function introduce(...ends: End[]): void {
  const peers = new Map(ends.map(({ id, member }) => [id, member]));
  for (const { id, transport, ear } of ends) {
    transport.setPeers(peers);
    transport.start(id, ear);
  }
}

function heartbeat(from: RaftId, to: RaftId, commit: number): Message {
  return { type: 'heartbeat', from, to, term: 1, commit, readSeq: 0 };
}

function tell(from: End, to: End, commit: number): void {
  from.transport.send(heartbeat(from.id, to.id, commit));
  from.transport.flush();
}

const commits = (ear: Ear) =>
  ear.messages.map((message) => (message.type === 'heartbeat' ? message.commit : -1));

test('messages arrive in order, in both directions, also those sent before the link was up', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  for (let i = 0; i < 20; i++) tell(a, b, i);
  await until('the early ones arrive', () => b.ear.messages.length === 20);
  for (let i = 20; i < 2_000; i++) tell(a, b, i);
  tell(b, a, 7);
  await until('all arrive', () => b.ear.messages.length === 2_000 && a.ear.messages.length === 1);
  t.deepEqual(commits(b.ear), [...Array(2_000).keys()]);
});

test('whoever calls can be answered, also by a member that has not heard of it yet', async (t) => {
  const [leader, away] = [await end(t.context), await end(t.context)];
  const [knowsAll, knowsItself] = [
    new Map([leader, away].map(({ id, member }) => [id, member])),
    new Map([[away.id, away.member]]),
  ];
  away.transport.setPeers(knowsItself);
  away.transport.start(away.id, away.ear);
  tell(away, leader, 1);
  await until('there is no way yet', () => away.ear.unreachables.includes(leader.id));
  leader.transport.setPeers(knowsAll);
  leader.transport.start(leader.id, leader.ear);
  tell(leader, away, 2);
  await until('the call arrives', () => away.ear.messages.length === 1);
  await until('the answer arrives', () => {
    tell(away, leader, 3);
    return leader.ear.messages.length > 0;
  });
  t.deepEqual(commits(leader.ear).slice(0, 1), [3]);
});

test('a large append passes and keeps its bytes', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  tell(a, b, 1);
  await until('the link is up', () => b.ear.messages.length === 1);
  const data = Uint8Array.from(Buffer.alloc(3 << 20, 'not the same twice'));
  a.transport.send({
    type: 'append',
    from: a.id,
    to: b.id,
    term: 1,
    prevIndex: 0,
    prevTerm: 0,
    commit: 0,
    entries: [{ term: 1, index: 1, type: 'normal', data }],
  });
  a.transport.flush();
  await until('it arrives', () => b.ear.messages.length === 2);
  const [, message] = b.ear.messages;
  const got = message?.type === 'append' ? message.entries[0]?.data : undefined;
  t.is(Buffer.compare(got ?? new Uint8Array(0), data), 0);
});

test('only managers of the same cluster and root are let in', async (t) => {
  const strangers: ((nodeId: string) => TlsIdentity)[] = [
    (nodeId) => issueIdentity(ca, nodeId, 'worker'),
    (nodeId) => issueIdentity(ca, nodeId, 'manager', 'cluster2'),
    (nodeId) => ({ ...issueIdentity(createRootCa(), nodeId), rootsPem: ca.certificatePem }),
  ];
  for (const identity of strangers) {
    const [server, stranger] = [await end(t.context), await end(t.context, { identity })];
    introduce(server, stranger);
    for (let i = 0; i < 5; i++) {
      tell(stranger, server, i);
      tell(server, stranger, i);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    t.deepEqual(server.ear.messages, [], 'nothing of a stranger is heard');
    t.deepEqual(stranger.ear.messages, [], 'nothing is told to a stranger');
    t.true(server.ear.unreachables.length > 0);
  }
});

test('a member made anew under the old address is not taken for the old one', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  const old: RaftMember = { ...b.member, raftId: raftId() };
  a.transport.setPeers(new Map([[old.raftId as RaftId, old]]));
  a.transport.start(a.id, a.ear);
  b.transport.start(b.id, b.ear);
  a.transport.send(heartbeat(a.id, old.raftId as RaftId, 1));
  await until('it is refused', () => a.ear.unreachables.length > 0);
  t.deepEqual(b.ear.messages, []);
  // Another node's certificate at the address of a known one.
  const wrongNode: RaftMember = { ...b.member, nodeId: newId(systemRandom) };
  a.ear.unreachables = [];
  a.transport.setPeers(new Map([[b.id, wrongNode]]));
  tell(a, b, 2);
  await until('it is refused', () => a.ear.unreachables.length > 0);
  t.deepEqual(b.ear.messages, []);
});

test('one manager cannot speak in the name of another', async (t) => {
  const [a, b, c] = [await end(t.context), await end(t.context), await end(t.context)];
  introduce(a, b, c);
  // By its own link, but with another sender inside.
  b.transport.send(heartbeat(c.id, a.id, 66));
  b.transport.flush();
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.deepEqual(commits(a.ear), []);
  // And by a link that says hello as another.
  const said = await hello(b.identity.current(), a, c.id);
  t.is(said, 'wrong-node');
  tell(c, a, 1);
  await until('the real one is heard', () => commits(a.ear).includes(1));
  t.false(commits(a.ear).includes(66));
});

test('a removed member is told at its hello and by a frame', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  a.ear.removedIds.push(b.id);
  introduce(a, b);
  await until('it is told', () => b.ear.toldRemoved);
  const [c, d] = [await end(t.context), await end(t.context)];
  introduce(c, d);
  tell(c, d, 1);
  await until('they talk', () => d.ear.messages.length === 1);
  c.transport.tellRemoved(d.id);
  await until('it is told', () => d.ear.toldRemoved);
  t.pass();
});

test('the link of a member that is removed is cut, and nothing more is heard by it', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  tell(b, a, 1);
  await until('they talk', () => commits(a.ear).includes(1));
  a.ear.removedIds.push(b.id);
  tell(b, a, 66);
  await until('it is told', () => b.ear.toldRemoved);
  t.false(commits(a.ear).includes(66));
});

test('links come back when the other side does', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  tell(a, b, 1);
  await until('they talk', () => b.ear.messages.length === 1);
  await b.transport.close();
  await until('the loss is noticed', () => a.ear.unreachables.length > 0);
  const port = Number(b.member.raftAddress.split(':')[1]);
  const identity = () => b.identity.current();
  const again = await end(t.context, { port, id: b.id, identity });
  again.transport.setPeers(new Map([[a.id, a.member]]));
  again.transport.start(b.id, again.ear);
  await until('they talk again', () => {
    tell(a, b, 2);
    return again.ear.messages.length > 0;
  });
  t.pass();
});

test('a host that takes connections and says nothing is given up, again and again', async (t) => {
  const silent: Server = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.context.close.push(async () => silent.close());
  const address = silent.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const a = await end(t.context);
  const id = raftId();
  const member = { raftId: id, nodeId: '', address: '', raftAddress: `127.0.0.1:${port}` };
  a.transport.setPeers(new Map([[id, member]]));
  a.transport.start(a.id, a.ear);
  await until('it is given up', () => a.ear.unreachables.includes(id));
  t.pass();
});

test('a link that goes silent without an end is given up, so that a healed network is used at once', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  const port = Number(b.member.raftAddress.split(':')[1]);
  const pipes: Socket[] = [];
  // Between them a network that can lose everything without telling either side.
  const network = createServer((near) => {
    const far = tcpConnect(port, '127.0.0.1');
    for (const socket of [near, far]) socket.on('error', () => undefined);
    near.pipe(far).pipe(near);
    pipes.push(near, far);
  });
  await new Promise<void>((resolve) => network.listen(0, '127.0.0.1', resolve));
  t.context.close.push(async () => {
    network.close();
    for (const pipe of pipes) pipe.destroy();
  });
  const address = network.address();
  const between = typeof address === 'object' && address !== null ? address.port : 0;
  const via: RaftMember = { ...b.member, raftAddress: `127.0.0.1:${between}` };
  a.transport.setPeers(new Map([[b.id, via]]));
  a.transport.start(a.id, a.ear);
  b.transport.start(b.id, b.ear);
  tell(a, b, 1);
  await until('they talk', () => b.ear.messages.length === 1);
  for (const pipe of pipes) {
    pipe.unpipe();
    pipe.pause();
  }
  a.ear.unreachables = [];
  await until('the silence is noticed', () => a.ear.unreachables.length > 0);
  await until('they talk by a new link', () => {
    tell(a, b, 2);
    return commits(b.ear).includes(2);
  });
  t.pass();
});

test('a transport that closes waits for no handshake', async (t) => {
  const a = await end(t.context);
  introduce(a);
  const { port } = parseAddress(a.member.raftAddress);
  const silent = tcpConnect({ host: '127.0.0.1', port });
  t.context.close.push(async () => silent.destroy());
  const gone = once(silent, 'close');
  await once(silent, 'connect');
  await new Promise((resolve) => setTimeout(resolve, 50)); // the server has it too
  await a.transport.close();
  await gone;
  t.pass();
});

test('a root that is dropped ends the links of its certificates, and a new certificate brings them back', async (t) => {
  const next = createRootCa();
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  tell(a, b, 1);
  tell(b, a, 1);
  await until('both are heard', () => commits(a.ear).includes(1) && commits(b.ear).includes(1));

  const isLost = () => a.ear.unreachables.includes(b.id);
  t.false(isLost());
  a.identity.replace(issueIdentity(next, a.member.nodeId));
  await until('the member with the old certificate to be lost', isLost);
  tell(a, b, 2);
  tell(b, a, 2);
  t.false(commits(a.ear).includes(2));

  b.identity.replace(issueIdentity(next, b.member.nodeId));
  await until('both are heard again', () => {
    tell(a, b, 3);
    tell(b, a, 3);
    return commits(a.ear).includes(3) && commits(b.ear).includes(3);
  });
  t.false([...commits(a.ear), ...commits(b.ear)].includes(2));
});

test('roots that are dropped while links are ending do no harm', async (t) => {
  const [first, second] = [createRootCa(), createRootCa()];
  const withRoots = (identity: TlsIdentity, ...roots: { certificatePem: string }[]) => ({
    ...identity,
    rootsPem: roots.map(({ certificatePem }) => certificatePem).join(''),
  });
  const options = {
    identity: (nodeId: string) => withRoots(issueIdentity(ca, nodeId), ca, first, second),
  };
  const [a, b] = [await end(t.context, options), await end(t.context, options)];
  introduce(a, b);
  tell(a, b, 1);
  tell(b, a, 1);
  await until('both are heard', () => commits(a.ear).includes(1) && commits(b.ear).includes(1));
  for (const { identity } of [a, b]) {
    identity.replace(withRoots(identity.current(), first, second));
    // The links have ended, and nobody was told yet: they are known, but have no certificate any more.
    t.notThrows(() => identity.replace(withRoots(identity.current(), second)));
  }
});

test('a member that moved says where it is, and is reached there before its group knows', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  tell(a, b, 1);
  await until('it is heard', () => commits(b.ear).includes(1));
  await b.transport.close();

  const port = await freePort();
  const raftAddress = `127.0.0.1:${port}`;
  const { identity } = b;
  const moved = new TlsPeerTransport({
    listen: raftAddress,
    advertise: raftAddress,
    identity,
    log: silentLog,
  });
  t.context.close.push(() => moved.close());
  await moved.listen();
  const ear = new Ear();
  // Both know the old address only.
  moved.setPeers(new Map([a, b].map(({ id, member }) => [id, member])));
  moved.start(b.id, ear);
  await until('it is heard where it is', () => {
    tell(a, b, 2);
    return commits(ear).includes(2);
  });
  // The group knows it now: nothing changes.
  const there = { ...b.member, raftAddress };
  a.transport.setPeers(
    new Map([
      [a.id, a.member],
      [b.id, there],
    ]),
  );
  tell(a, b, 3);
  await until('it is heard on the same link', () => commits(ear).includes(3));
  t.pass();
});

test('nonsense on the port closes that connection and nothing else', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  const port = Number(a.member.raftAddress.split(':')[1]);
  const closed = new Promise((resolve) => {
    const socket = tcpConnect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\n\r\n'));
    socket.on('error', () => undefined);
    socket.on('close', resolve);
  });
  await closed;
  const reading = new Promise((resolve) => {
    const identity = b.identity.current();
    const socket = tlsConnect({
      port,
      host: '127.0.0.1',
      ca: identity.rootsPem,
      cert: identity.certificatePem,
      key: identity.keyPem,
      ALPNProtocols: ['shoal-raft'],
      checkServerIdentity: () => undefined,
    });
    socket.on('error', () => undefined);
    socket.on('close', resolve);
    socket.write(Uint8Array.of(0x7f, 0xff, 0xff, 0xff, 4));
  });
  await reading;
  tell(b, a, 5);
  await until('others are still heard', () => commits(a.ear).includes(5));
  t.pass();
});

test('those who connect and begin no handshake keep a member out for a moment at most', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  const { port } = parseAddress(b.member.raftAddress);
  // As many as are let in at a time.
  const silent = Array.from({ length: 128 }, () => tcpConnect({ host: '127.0.0.1', port }));
  t.context.close.push(async () => silent.map((socket) => socket.destroy()));
  for (const socket of silent) socket.on('error', () => undefined).resume();
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  introduce(a, b);
  await until('the member is heard', () => {
    tell(a, b, 1);
    return b.ear.messages.length > 0;
  });
  await until('all of them are let go', () => silent.every(({ closed }) => closed));
  t.pass();
});

test('what waits for a link to come up is bounded, and what is dropped is told', async (t) => {
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.context.close.push(async () => silent.close());
  const sockets: Socket[] = [];
  silent.on('connection', (socket) => sockets.push(socket));
  t.context.close.push(async () => sockets.map((socket) => socket.destroy()));
  const [a, b] = [await end(t.context), await end(t.context)];
  const { port } = silent.address() as { port: number };
  introduce(a, { ...b, member: { ...b.member, raftAddress: `127.0.0.1:${port}` } });
  for (let commit = 1; commit <= 100; commit++) tell(a, b, commit);
  await new Promise(setImmediate);
  t.is(a.ear.unreachables.filter((id) => id === b.id).length, 36);
});

test('a snapshot goes by a link of its own while messages pass it', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  const snapshot: SnapshotMeta = {
    index: 9,
    term: 2,
    confState: {
      voters: [a.id, b.id],
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
    },
  };
  const message: SnapshotRequest = { type: 'snapshot', from: a.id, to: b.id, term: 2, snapshot };
  let given = 0;
  const body = function* () {
    for (; given < 64; given++) yield new Uint8Array(1 << 18);
  };
  a.transport.sendSnapshot(message, body());
  await until('both have arrived', () => {
    tell(a, b, 1); // again: on a busy machine a first link may be given up
    return a.ear.sent.length === 1 && b.ear.messages.length > 1;
  });
  t.deepEqual(a.ear.sent, [{ to: b.id, ok: true }]);
  t.deepEqual(
    b.ear.snapshots.map(({ meta, chunks, committed }) => [meta.index, chunks.length, committed]),
    [[9, 64, true]],
  );
  const types = new Set(b.ear.messages.map(({ type }) => type));
  t.deepEqual([...types].sort(), ['heartbeat', 'snapshot']);
});

test('a snapshot that cannot be delivered is reported, and one without a body is not believed', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  const confState = {
    voters: [a.id, b.id],
    learners: [],
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  };
  const message: SnapshotRequest = {
    type: 'snapshot',
    from: a.id,
    to: b.id,
    term: 2,
    snapshot: { index: 9, term: 2, confState },
  };
  tell(a, b, 1);
  await until('the link is up', () => b.ear.messages.length === 1);
  a.transport.send(message); // as a plain message: a mistake that must not get through
  a.transport.flush();
  await until('it has cost the link, and there is another', () => {
    tell(a, b, 2);
    return commits(b.ear).includes(2);
  });
  t.deepEqual([...new Set(b.ear.messages.map(({ type }) => type))], ['heartbeat']);
  await b.transport.close();
  a.transport.sendSnapshot(message, [new Uint8Array(1)]);
  await until('it is reported', () => a.ear.sent.length === 1);
  t.deepEqual(a.ear.sent, [{ to: b.id, ok: false }]);
});

test('who asks for another member than this one is not answered as if it were', async (t) => {
  const [a, b] = [await end(t.context), await end(t.context)];
  introduce(a, b);
  t.is(await hello(a.identity.current(), { ...b, id: raftId() }, a.id), 'wrong-member');
  t.is(await hello(a.identity.current(), b, a.id), 'welcome');
});

/** What is answered to a hello that claims to be from `from`. */
function hello(identity: TlsIdentity, to: End, from: RaftId): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      port: Number(to.member.raftAddress.split(':')[1]),
      host: '127.0.0.1',
      ca: identity.rootsPem,
      cert: identity.certificatePem,
      key: identity.keyPem,
      ALPNProtocols: ['shoal-raft'],
      checkServerIdentity: () => undefined,
    });
    const reader = new FrameReader();
    socket.on('data', (chunk: Uint8Array) =>
      reader.push(chunk, ({ kind, payload }) => {
        resolve(kind === FRAME.welcome ? 'welcome' : new TextDecoder().decode(payload));
        socket.destroy();
      }),
    );
    socket.on('error', reject);
    const payload = encodeHello({
      version: 1,
      clusterId: CLUSTER_ID,
      from,
      to: to.id,
      channel: 'messages',
    });
    // With a message right behind it: one that came before the answer must not be taken either.
    socket.write(
      encodeFrames([
        { kind: FRAME.hello, payload },
        { kind: FRAME.message, payload: encodeMessage(heartbeat(from, to.id, 66)) },
      ]),
    );
  });
}
