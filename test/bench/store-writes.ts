/**
 * Durable writes of three managers, each a process of its own with consensus, log and store, as fast
 * as clients on loopback sockets can make them: 256-byte values, every one acknowledged after it is
 * synced on two of three and applied. Then what a member costs that comes back far behind, and how
 * long writes wait while a large state is snapshotted. Prints one JSON line a figure; asserts nothing.
 *
 *     node test/bench/store-writes.ts [--seconds 4] [--reps 3] [--clients 1,8,64,256]
 *         [--behind 100000] [--snapshot 24000]
 *     node test/bench/store-writes.ts --burst 32 [--seconds 4] [--reps 3]
 *     node test/bench/store-writes.ts --schedule 10000 [--reps 3]
 *
 * `--clients ''`, `--behind 0` and `--snapshot 0` leave a part out. `--schedule` measures heartbeats only:
 * how much later than due the leader is heard while it places so many tasks. `--burst` measures CPU
 * only: so many writes every 10 ms, whatever becomes of the ones before, so that what others do on
 * the machine changes neither the number of writes nor how many share a sync.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DEFAULT_COMPACTION } from '../../manager/raft/compaction.ts';
import { DEFAULT_TIMING } from '../../manager/raft/node-start.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../shared/ids.ts';
import { systemRandom } from '../../shared/io/system.ts';
import type { TlsIdentity } from '../../shared/pki/identity.ts';
import { createRootCa } from '../../shared/pki/io/x509.ts';
import { until } from '../manager/raft/io/harness.ts';
import { issueIdentity } from '../support/identity.ts';
import { freePort } from '../support/ports.ts';
import type { Order, Reply, StoreMemberInput } from './store-member.ts';

const VALUE_BYTES = 256;
/** Between two writes whose delays tell of a snapshot: the members are not busy otherwise. */
const PACE_MS = 2;
const CONNECTIONS = 8;
const BURST_MS = 10;
const script = new URL('./store-member.ts', import.meta.url);
const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    reps: { type: 'string', default: '3' },
    clients: { type: 'string', default: '1,8,64,256' },
    behind: { type: 'string', default: '100000' },
    snapshot: { type: 'string', default: '24000' },
    schedule: { type: 'string', default: '0' },
    burst: { type: 'string', default: '0' },
  },
});
const seconds = Number(options.seconds);
const reps = Number(options.reps);

type Unnumbered<T> = T extends unknown ? Omit<T, 'id'> : never;

class Member {
  readonly member: RaftMember;
  /** Where it takes links itself. */
  listen: string;
  readonly port: number;
  readonly #identity: TlsIdentity;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #nextId = 1;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  constructor(member: RaftMember, port: number, identity: TlsIdentity, folder: string) {
    this.member = member;
    this.listen = member.raftAddress;
    this.port = port;
    this.#identity = identity;
    this.#folder = folder;
  }
  /** Of its own state, finished. */
  snapshots(): string[] {
    return readdirSync(this.#folder).filter((name) => /^snap-[\d-]+$/.test(name));
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }
  async start(start: StoreMemberInput['start'], members: readonly RaftMember[] = []) {
    const { member, port } = this;
    const folder = this.#folder;
    const listen = this.listen;
    const input = { folder, port, listen, identity: this.#identity, member, members, start };
    const child = fork(script, [JSON.stringify(input)], { stdio: ['ignore', 2, 2, 'ipc'] });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.on('exit', () => reject(new Error('a member ended')));
      child.on('message', (reply: Reply) => {
        if (reply.id === 0) resolve();
        this.#waiting.get(reply.id)?.(reply);
        this.#waiting.delete(reply.id);
      });
    });
  }
  ask(order: Unnumbered<Order>): Promise<Reply> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child?.send({ id, ...order });
    });
  }
  async end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
}

/** Connections shared by all clients; each client has one write under way at a time. */
class Clients {
  readonly #sockets: Array<ReturnType<typeof connect>>;
  readonly #waiting = new Map<number, (code: number) => void>();
  #next = 0;
  private constructor(sockets: Array<ReturnType<typeof connect>>) {
    this.#sockets = sockets;
    for (const socket of sockets) {
      let rest: Buffer = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        let at = 0;
        for (; rest.length - at >= 8; at += 8) {
          const id = rest.readUInt32BE(at);
          this.#waiting.get(id)?.(rest.readUInt32BE(at + 4));
          this.#waiting.delete(id);
        }
        rest = rest.subarray(at);
      });
    }
  }
  static async open(port: number, count: number): Promise<Clients> {
    const sockets = await Promise.all(
      Array.from({ length: count }, async () => {
        const socket = connect(port, '127.0.0.1');
        socket.setNoDelay(true);
        await new Promise((resolve, reject) => {
          socket.once('connect', resolve);
          socket.once('error', reject);
        });
        return socket;
      }),
    );
    return new Clients(sockets);
  }
  write(client: number): Promise<number> {
    const id = this.#next++;
    const frame = Buffer.alloc(8 + VALUE_BYTES, 120);
    frame.writeUInt32BE(4 + VALUE_BYTES, 0);
    frame.writeUInt32BE(id, 4);
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#sockets[client % this.#sockets.length]?.write(frame);
    });
  }
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

const ca = createRootCa();
const root = await mkdtemp(join(tmpdir(), 'shoal-store-bench-'));
const members: Member[] = [];
/** What passed to a member through its relay: who called, and when. */
const heard: { to: Member; link: object; atMs: number }[] = [];
try {
  await grow(3);
  const leader = await theLeader();
  if (Number(options.schedule) > 0) await heartbeats(leader, Number(options.schedule));
  else if (Number(options.burst) > 0) await bursts(leader, Number(options.burst));
  else await all(leader);
} finally {
  await Promise.all(members.map((one) => one.end()));
  await rm(root, { recursive: true, force: true });
}
process.exit(0);

async function all(leader: Member): Promise<void> {
  emit('idle_pss', { pss_mib: members.map(pssMib) });
  const counts = options.clients.split(',').filter((count) => count !== '');
  if (Number(options.snapshot) > 0) await snapshots(leader, Number(options.snapshot));
  for (const clients of counts.map(Number)) {
    for (let rep = 1; rep <= reps; rep++) await writes(leader, clients, rep);
  }
  if (Number(options.behind) > 0) await catchUp(leader, Number(options.behind));
  emit('loaded_pss', { pss_mib: members.map(pssMib) });
}

async function grow(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const port = await freePort();
    const raftPort = await freePort();
    const member: RaftMember = {
      raftId: newId(systemRandom),
      nodeId: newId(systemRandom),
      address: `127.0.0.1:${port}`,
      raftAddress: `127.0.0.1:${raftPort}`,
    };
    const one = new Member(member, port, issueIdentity(ca, member.nodeId), join(root, String(i)));
    if (Number(options.schedule) > 0) await relay(one, raftPort);
    if (i > 0) await (await theLeader()).ask({ call: 'add', member });
    members.push(one);
    const known = members.map((other) => other.member);
    await one.start(i === 0 ? 'bootstrap' : 'join', known);
    await until('all vote', async () => (await one.ask({ call: 'status' })).voters === i + 1);
  }
}

async function theLeader(): Promise<Member> {
  let leader: Member | undefined;
  await until('somebody leads', async () => {
    for (const one of members) {
      if ((await one.ask({ call: 'status' })).isLeader) leader = one;
    }
    return leader !== undefined;
  });
  return leader as Member;
}

async function writes(leader: Member, clients: number, rep: number): Promise<void> {
  const link = await Clients.open(leader.port, Math.min(clients, CONNECTIONS));
  for (let i = 0; i < 50; i++) await link.write(0);
  const latencies: number[] = [];
  let refused = 0;
  const cpu = serverSeconds();
  const own = process.cpuUsage();
  const start = performance.now();
  const end = start + seconds * 1_000;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let now = performance.now(); now < end; ) {
        if ((await link.write(client)) !== 0) refused++;
        const done = performance.now();
        latencies.push(done - now);
        now = done;
      }
    }),
  );
  const elapsed = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(own);
  link.close();
  latencies.sort((a, b) => a - b);
  const at = (ratio: number) => round(latencies[Math.floor((latencies.length - 1) * ratio)] ?? 0);
  emit(`put_x${clients}`, {
    clients,
    n: latencies.length,
    refused,
    seconds: round(elapsed),
    per_second: round(latencies.length / elapsed),
    p50_ms: at(0.5),
    p90_ms: at(0.9),
    p99_ms: at(0.99),
    max_ms: at(1),
    cpu_servers: round(serverSeconds() - cpu),
    cpu_client: round((user + system) / 1e6),
    rep,
  });
}

/** The first burst's time warms the members up and does not count. */
async function bursts(leader: Member, count: number): Promise<void> {
  const link = await Clients.open(leader.port, CONNECTIONS);
  for (let rep = 0; rep <= reps; rep++) {
    const cpu = serverSeconds();
    const start = performance.now();
    const pending: Promise<number>[] = [];
    let late = 0;
    for (let due = start; due < start + seconds * 1_000; due += BURST_MS) {
      const wait = due - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      else late++;
      for (let i = 0; i < count; i++) pending.push(link.write(i));
    }
    await Promise.all(pending);
    if (rep === 0) continue;
    const micros = ((serverSeconds() - cpu) / pending.length) * 1e6;
    const elapsed = (performance.now() - start) / 1_000;
    const n = pending.length;
    emit('cpu_in_bursts', { n, seconds: round(elapsed), late, cpu_micros: round(micros), rep });
  }
  link.close();
}

function serverSeconds(): number {
  return members.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
}

/** A follower is away for `entries` writes: from its start until it has applied all of them. */
async function catchUp(leader: Member, entries: number): Promise<void> {
  const follower = members.find((one) => one !== leader) as Member;
  await follower.end();
  await fill(leader, entries);
  const before = await leader.ask({ call: 'status' });
  const start = performance.now();
  await follower.start('restart');
  const started = performance.now();
  await until('the follower has everything', async () => {
    return (await follower.ask({ call: 'status' })).applied >= before.applied;
  });
  const after = await leader.ask({ call: 'status' });
  emit('catch_up', {
    n: entries,
    seconds: round((performance.now() - started) / 1_000),
    with_start: round((performance.now() - start) / 1_000),
    leader_kept: after.isLeader && after.term === before.term,
  });
}

/** Links to `member` pass through here, so that it can be seen when something comes. */
async function relay(member: Member, raftPort: number): Promise<void> {
  const port = await freePort();
  member.listen = `127.0.0.1:${port}`;
  createServer({ noDelay: true }, (from) => {
    const to = connect({ port, host: '127.0.0.1', noDelay: true });
    from.on('data', () => heard.push({ to: member, link: from, atMs: performance.now() }));
    from.pipe(to).pipe(from);
    for (const socket of [from, to]) socket.on('error', () => [from, to].map((s) => s.destroy()));
  }).listen(raftPort, '127.0.0.1');
}

/**
 * The leader sends each follower something once a tick at least. Of the followers' links only the one
 * from the leader is never silent for long; how much longer than a tick it is, is lateness.
 */
async function heartbeats(leader: Member, tasks: number): Promise<void> {
  heard.length = 0;
  const start = performance.now();
  const before = await leader.ask({ call: 'status' });
  const reply = await leader.ask({ call: 'schedule', tasks });
  const end = performance.now();
  const after = await leader.ask({ call: 'status' });
  const late: number[] = [];
  for (const link of new Set(heard.filter(({ to }) => to !== leader).map((one) => one.link))) {
    const times = heard.filter((one) => one.link === link).map(({ atMs }) => atMs);
    // Others than the leader only ping, once a second.
    if (times.length < (2 * (end - start)) / 1_000 + 2) continue;
    for (const [i, atMs] of times.entries()) {
      const silence = atMs - (times[i - 1] ?? start);
      if (silence >= DEFAULT_TIMING.tickMs / 2)
        late.push(Math.max(0, silence - DEFAULT_TIMING.tickMs));
    }
  }
  late.sort((a, b) => a - b);
  const at = (ratio: number) => round(late[Math.floor((late.length - 1) * ratio)] ?? 0);
  emit('heartbeats_while_scheduling', {
    tasks,
    seconds: round((end - start) / 1_000),
    silences: late.length,
    late_p50_ms: at(0.5),
    late_p99_ms: at(0.99),
    late_max_ms: at(1),
    leader_kept: after.isLeader && after.term === before.term,
    ...(reply.error === undefined ? {} : { error: reply.error }),
  });
}

async function fill(leader: Member, entries: number): Promise<void> {
  const link = await Clients.open(leader.port, CONNECTIONS);
  let left = entries;
  await Promise.all(
    Array.from({ length: 256 }, async (_, client) => {
      while (left-- > 0) await link.write(client);
    }),
  );
  link.close();
}

/** Delays of paced writes to a leader with so many objects: without snapshots, then with one after another. */
async function snapshots(leader: Member, objects: number): Promise<void> {
  await fill(leader, objects);
  for (const snapshotEveryEntries of [1_000_000, 200]) {
    await leader.ask({ call: 'compaction', snapshotEveryEntries });
    const link = await Clients.open(leader.port, 1);
    const files = new Set(leader.snapshots());
    const before = files.size;
    const delays: number[] = [];
    const end = performance.now() + seconds * 1_000;
    while (performance.now() < end) {
      const start = performance.now();
      await link.write(0);
      delays.push(performance.now() - start);
      for (const name of leader.snapshots()) files.add(name);
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
    link.close();
    delays.sort((a, b) => a - b);
    const at = (ratio: number) => round(delays[Math.floor((delays.length - 1) * ratio)] ?? 0);
    emit(snapshotEveryEntries > objects ? 'delay_without_snapshots' : 'delay_with_snapshots', {
      objects,
      n: delays.length,
      snapshots: files.size - before,
      p50_ms: at(0.5),
      p99_ms: at(0.99),
      max_ms: at(1),
    });
  }
  await leader.ask({ call: 'compaction', ...DEFAULT_COMPACTION });
}

function emit(scenario: string, figures: Record<string, unknown>): void {
  const load1 = round(loadavg()[0] ?? 0);
  console.log(JSON.stringify({ system: 'shoal', members: 3, scenario, ...figures, load1 }));
}

function round(value: number): number {
  return Number(value.toFixed(3));
}

/** User and system seconds so far, of a process with all its threads. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function pssMib({ pid }: Member): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return round(Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1_024);
}
