import type { CompactionPolicy } from '../../manager/raft/compaction.ts';
import type { NodePorts, RaftNode } from '../../manager/raft/node.ts';
import type { NodeConfig, NodeStart, NodeTiming } from '../../manager/raft/node-start.ts';
import type { PeerTransport, TransportEvents } from '../../manager/raft/ports.ts';
import {
  type FromNode,
  type NodeStatus,
  pack,
  type ToNode,
  unpack,
} from '../../manager/raft/protocol.ts';
import type { SessionLimits } from '../../manager/raft/sessions.ts';
import { Sessions } from '../../manager/raft/sessions.ts';
import type { Message, RaftId, SnapshotRequest } from '../../manager/raft/types.ts';
import type { Timer } from '../../shared/clock.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../shared/log.ts';
import type { Served } from './clients.ts';
import type { VirtualClock } from './clock.ts';
import type { EventLog } from './events.ts';
import { type Commands, KvMachine } from './kv.ts';
import type { SimNetwork } from './network.ts';
import { NodeDisk } from './node-disk.ts';
import { hash, type RaftChecks } from './raft-checks.ts';
import type { Answer, Request } from './raft-world.ts';
import type { SeededRandom } from './random.ts';

/** Between the node and its client, which are two threads. */
const HOP_MS = 0.05;
const COMMIT_SNAPSHOT_MAX_MS = 60;

/** What one manager sends another. */
export type Parcel =
  | Readonly<{ kind: 'message'; message: Message }>
  | Readonly<{ kind: 'snapshot'; message: SnapshotRequest; chunks: readonly Uint8Array[] }>
  | Readonly<{ kind: 'snapshot-sent'; to: RaftId; ok: boolean }>
  | Readonly<{ kind: 'removed' }>;

/** What a manager shares with the others. */
export type ManagersWorld = Readonly<{
  clock: VirtualClock;
  network: SimNetwork<Parcel>;
  checks: RaftChecks;
  events: EventLog;
  commands: Commands;
  sessions: SessionLimits;
  timing: NodeTiming;
  compaction: CompactionPolicy;
  createNode: (config: NodeConfig, ports: NodePorts) => RaftNode;
  fails: () => boolean;
  died: (manager: SimManager) => void;
  history: Map<number, number>;
}>;

class PowerFailure extends Error {}

type Reply = (answer: Answer) => void;

/**
 * One whole manager: the production node over a simulated disk and links, and beside it a state
 * machine that talks to it in batches, as another thread would. Whatever it does may be the last.
 */
export class SimManager implements Served {
  readonly member: RaftMember;
  readonly id: RaftId;
  readonly disk = new NodeDisk();
  readonly #world: ManagersWorld;
  readonly #random: SeededRandom;
  #node: RaftNode | undefined;
  #events: TransportEvents | undefined;
  #epoch = 0;
  #paused = false;
  #inbox: (() => void)[] = [];
  #gone = false;
  #outbox: Message[] = [];
  #peers = new Set<RaftId>();
  /** Called this one, and said in the hello of the link where to answer. */
  readonly #introduced = new Set<RaftId>();
  #status: NodeStatus | undefined;
  #kv: KvMachine;
  #index = 0;
  #link = 0;
  #nextId = 1;
  readonly #writes = new Map<number, Readonly<{ command: number; reply: Reply }>>();
  readonly #asked = new Map<number, Readonly<{ key: number; floor: number; reply: Reply }>>();
  #confirmed: Readonly<{ key: number; index: number; reply: Reply }>[] = [];

  constructor(member: RaftMember, world: ManagersWorld, random: SeededRandom) {
    this.member = member;
    this.id = member.raftId as RaftId;
    this.#world = world;
    this.#random = random;
    this.#kv = new KvMachine(new Sessions(world.sessions));
    world.network.attach(this.id, (from, parcel) =>
      this.#input(() => this.#receive(from as RaftId, parcel)),
    );
  }

  get isUp(): boolean {
    return this.#node !== undefined;
  }
  get isPaused(): boolean {
    return this.#paused;
  }
  /** Removed: it may not start from this disk any more. */
  get isGone(): boolean {
    return this.#gone;
  }
  get index(): number {
    return this.#index;
  }
  get digest(): number {
    return this.#kv.digest() ^ this.#link;
  }
  get status(): NodeStatus | undefined {
    return this.#node === undefined ? undefined : this.#status;
  }

  // ------------------------------------------------------------------------------ life and death

  start(start: NodeStart): void {
    if (this.#node !== undefined || this.#gone) return;
    const epoch = ++this.#epoch;
    const { clock, timing, compaction, createNode } = this.#world;
    this.#trace('starts', start.kind);
    this.disk.ownedBy({
      before: () => this.#mayDie(),
      after: () => this.#mayDie(),
      later: (fn) => this.#later(this.#random.next() * COMMIT_SNAPSHOT_MAX_MS, fn),
    });
    const ports: NodePorts = {
      storage: this.disk,
      transport: this.#transport(),
      clock: {
        now: () => clock.now(),
        monotonicMs: () => clock.monotonicMs(),
        after: (delayMs, fn) => this.#timer(delayMs, fn),
      },
      random: this.#random,
      log: silentLog,
      defer: (fn) => this.#later(0, fn),
      post: (batch) => {
        if (this.#epoch === epoch) this.#later(HOP_MS, () => this.#take(batch));
      },
    };
    try {
      this.#node = createNode({ start, clusterId: 'sim', timing, compaction }, ports);
      this.#node.start();
    } catch (error) {
      if (this.disk.note('removed') === undefined) throw error;
      this.#gone = true;
      this.#node = undefined;
    }
  }

  crash(): void {
    if (this.#node === undefined) return;
    this.#trace('crashes');
    this.#epoch++;
    this.#node = undefined;
    this.#events = undefined;
    this.#status = undefined;
    this.#paused = false;
    this.#inbox = [];
    this.#outbox = [];
    this.#writes.clear();
    this.#asked.clear();
    this.#introduced.clear();
    this.#confirmed = [];
    this.#kv = new KvMachine(new Sessions(this.#world.sessions));
    this.#index = 0;
    this.#link = 0;
    this.disk.ownedBy(undefined);
    this.disk.crash(this.#random);
  }

  pause(): void {
    this.#paused = this.isUp;
  }

  resume(first?: () => void): void {
    if (!this.#paused) return;
    this.#paused = false;
    first?.();
    const waiting = this.#inbox;
    this.#inbox = [];
    const epoch = this.#epoch;
    for (const input of waiting) if (this.#epoch === epoch) this.#input(input);
  }

  /** Power fails here, by chance: nothing that follows happens. */
  #mayDie(): void {
    if (!this.#world.fails()) return;
    this.#trace('power fails');
    this.crash();
    this.#world.died(this);
    throw new PowerFailure('power has failed');
  }

  #input(fn: () => void): void {
    if (this.#node === undefined) return;
    if (this.#paused) {
      this.#inbox.push(fn);
      return;
    }
    try {
      fn();
    } catch (error) {
      if (!(error instanceof PowerFailure)) throw error;
    }
  }

  #later(delayMs: number, fn: () => void): void {
    const epoch = this.#epoch;
    this.#world.clock.later(delayMs, () => {
      if (this.#epoch === epoch) this.#input(fn);
    });
  }

  #timer(delayMs: number, fn: () => void): Timer {
    let due: (() => void) | undefined = fn;
    this.#later(delayMs, () => due?.());
    return {
      cancel: () => {
        due = undefined;
      },
    };
  }

  #trace(what: string, detail?: Message | string | number): void {
    this.#world.events.note(this.#world.clock.monotonicMs(), this.id, what, detail);
  }

  // --------------------------------------------------------------------------------------- links

  #transport(): PeerTransport {
    const { network } = this.#world;
    const epoch = this.#epoch;
    const lives = () => this.#epoch === epoch;
    return {
      start: (_self, events) => {
        this.#events = events;
      },
      send: (message) => {
        const known = this.#peers.has(message.to) || this.#introduced.has(message.to);
        if (lives() && known) this.#outbox.push(message);
      },
      sendSnapshot: (message, body) => {
        if (!lives()) return;
        this.#leads(message);
        network.send(this.id, message.to, { kind: 'snapshot', message, chunks: [...body] });
        this.#later(800, () => this.#events?.snapshotSent(message.to, false));
      },
      flush: () => {
        if (!lives()) return;
        const messages = this.#outbox;
        this.#outbox = [];
        for (const message of messages) {
          this.#leads(message);
          network.send(this.id, message.to, { kind: 'message', message });
          this.#mayDie();
        }
      },
      setPeers: (peers) => {
        if (lives()) this.#peers = new Set(peers.keys());
      },
      tellRemoved: (id) => {
        if (lives()) network.send(this.id, id, { kind: 'removed' });
      },
      close: () => Promise.resolve(),
    };
  }

  /** Only a leader sends these. */
  #leads({ type, term }: Message): void {
    const leads = type === 'append' || type === 'heartbeat' || type === 'snapshot';
    if (leads) this.#world.checks.leads(this.id, term);
  }

  #receive(from: RaftId, parcel: Parcel): void {
    const events = this.#events;
    this.#introduced.add(from);
    switch (parcel.kind) {
      case 'message':
        this.#trace('gets', parcel.message);
        events?.message(parcel.message);
        break;
      case 'snapshot': {
        this.#trace('gets', parcel.message);
        if (this.disk.full) return;
        const sink = events?.receiveSnapshot(parcel.message);
        for (const chunk of parcel.chunks) sink?.write(chunk);
        void sink?.commit().then(() => {
          events?.message(parcel.message);
          const answer: Parcel = { kind: 'snapshot-sent', to: this.id, ok: true };
          this.#world.network.send(this.id, from, answer);
        });
        break;
      }
      case 'snapshot-sent':
        events?.snapshotSent(parcel.to, parcel.ok);
        break;
      case 'removed':
        events?.removed();
        break;
    }
  }

  // ------------------------------------------------------------------------- the client's thread

  order(message: ToNode): void {
    this.#input(() => this.#say(message));
  }

  orderId(): number {
    return this.#nextId++;
  }

  #say(message: ToNode): void {
    this.#later(HOP_MS, () => this.#node?.take([message]));
  }

  request(request: Request, reply: Reply): void {
    this.#input(() => {
      const id = this.#nextId++;
      if (request.kind === 'read') {
        const floor = this.#world.checks.visibleIndex;
        this.#asked.set(id, { key: request.key, floor, reply });
        this.#say({ kind: 'read', context: id });
      } else {
        this.#writes.set(id, { command: request.command, reply });
        this.#say({ kind: 'propose', firstId: id, ...pack([request.data]) });
      }
    });
  }

  #take(batch: readonly FromNode[]): void {
    for (const event of batch) this.#takeOne(event);
  }

  #takeOne(event: FromNode): void {
    switch (event.kind) {
      case 'restore':
        this.#restore(event.index, event.chunks);
        break;
      case 'entries':
        this.#apply(event);
        break;
      case 'failed':
        for (let id = event.firstId; id < event.firstId + event.count; id++) {
          const unknown = event.error.code === 'unknown-outcome';
          this.#writes.get(id)?.reply({ kind: unknown ? 'unknown' : 'refused' });
          this.#writes.delete(id);
        }
        break;
      case 'read-ready':
        this.#readReady(event.context, event.index);
        break;
      case 'read-dropped':
        this.#asked.get(event.context)?.reply({ kind: 'refused' });
        this.#asked.delete(event.context);
        break;
      case 'status':
        this.#status = event.status;
        break;
      case 'take-snapshot':
        this.#say({ kind: 'snapshot-begin', index: this.#index });
        for (const chunk of [
          new Uint8Array(Uint32Array.of(this.#link).buffer),
          ...this.#kv.encode(),
        ]) {
          this.#say({ kind: 'snapshot-chunk', chunk });
        }
        this.#say({ kind: 'snapshot-end', ok: true });
        break;
      case 'fatal':
        throw new Error(`${this.id} stopped: ${event.error.message}`);
      default:
        break;
    }
  }

  #restore(index: number, [link, sessions, numbers]: readonly Uint8Array[]): void {
    if (link === undefined || sessions === undefined || numbers === undefined) {
      throw new Error(`${this.id} is to restore snapshot ${index}, which lacks its body`);
    }
    const known = Sessions.decode(sessions, this.#world.sessions);
    this.#kv = KvMachine.decode(known, numbers);
    this.#link = new Uint32Array(link.slice().buffer)[0] ?? 0;
    this.#setIndex(index);
  }

  #apply(event: FromNode & { kind: 'entries' }): void {
    const { checks, commands, history } = this.#world;
    const answers = new Map<number, Answer>();
    for (const [i, data] of unpack(event.lengths, event.bytes).entries()) {
      const index = event.first + i;
      if (index !== this.#index + 1 + i) throw new Error(`entry ${index} after ${this.#index}`);
      this.#link = hash(this.#link ^ index, data);
      checks.applied(this.id, index, this.#link);
      if (data.length === 0) continue;
      const applied = this.#kv.apply(index, data, commands);
      history.set(index, applied.command);
      if (applied.kind === 'done' && !applied.again)
        checks.executed(this.id, index, applied.command);
      answers.set(
        index,
        applied.kind === 'no-session'
          ? { kind: 'no-session' }
          : { kind: 'ok', output: applied.output },
      );
    }
    this.#setIndex(event.first + event.lengths.length - 1);
    for (let i = 0; i < event.done.length; i += 2) this.#answer(event.done, i, answers);
  }

  #answer(done: readonly number[], at: number, answers: ReadonlyMap<number, Answer>): void {
    const id = done[at] ?? 0;
    const index = done[at + 1] ?? 0;
    const write = this.#writes.get(id);
    const answer = answers.get(index);
    this.#writes.delete(id);
    if (write === undefined || answer === undefined) return;
    if (answer.kind === 'ok') this.#world.checks.acknowledged(index, write.command);
    write.reply(answer);
  }

  #setIndex(index: number): void {
    this.#index = index;
    this.#world.checks.state(this.id, index, this.digest);
    this.#say({ kind: 'applied', index });
    this.#answerReads();
  }

  #readReady(context: number, index: number): void {
    const read = this.#asked.get(context);
    if (read === undefined) throw new Error(`read ${context} was answered twice`);
    this.#asked.delete(context);
    this.#world.checks.readAnswered(this.id, read.floor, index);
    this.#confirmed.push({ ...read, index });
    this.#answerReads();
  }

  #answerReads(): void {
    const due = this.#confirmed.filter(({ index }) => index <= this.#index);
    if (due.length === 0) return;
    this.#confirmed = this.#confirmed.filter(({ index }) => index > this.#index);
    this.#world.checks.observedByClient(this.#index);
    for (const { key, reply } of due) reply({ kind: 'ok', output: this.#kv.get(key) });
  }
}
