import type { DurableBatch, LoadedState, SnapshotBody } from '../../../manager/raft/durable-log.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import { RaftNode } from '../../../manager/raft/node.ts';
import {
  DEFAULT_TIMING,
  type NodeStart,
  type NodeTiming,
} from '../../../manager/raft/node-start.ts';
import {
  DiskFullError,
  type NodeStorage,
  type PeerTransport,
  type SnapshotSink,
  type TransportEvents,
} from '../../../manager/raft/ports.ts';
import { type FromNode, pack } from '../../../manager/raft/protocol.ts';
import type { Entry, Message, RaftId, SnapshotMeta } from '../../../manager/raft/types.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../shared/log.ts';
import { id, member } from './letters.ts';

/** One node between a disk, links and a client that only write down what happens to them, in order. */
export class Disk implements NodeStorage {
  readonly #events: string[];
  readonly notes = new Map<string, Uint8Array>();
  readonly snapshots = new Map<number, { meta: SnapshotMeta; chunks: Uint8Array[] }>();
  view = new MemoryLog();
  hardState: LoadedState['hardState'] = { term: 0, vote: undefined, commit: 0 };
  broken = false;
  full = false;
  snapshotsFail = false;
  /** Of snapshots, what comes after their first byte. */
  damaged = false;
  replaceDue = false;
  /** Has room again, says its owner, and has none for what is written. */
  hidesFull = false;
  constructor(events: string[]) {
    this.#events = events;
  }
  load(): LoadedState {
    const first = this.view.firstIndex();
    const last = this.view.lastIndex();
    return {
      hardState: this.hardState,
      snapshot: this.view.snapshot(),
      entries: first > last ? [] : this.view.entries(first, last + 1, Number.POSITIVE_INFINITY),
      compacted: { index: first - 1, term: this.view.term(first - 1) ?? 0 },
    };
  }
  append(batch: DurableBatch, options?: { lazy: boolean }): void {
    if (this.broken) throw new Error('EIO: the disk is gone');
    if (this.full || this.hidesFull) throw new DiskFullError('here');
    if (batch.hardState !== undefined) this.hardState = batch.hardState;
    if (batch.snapshot !== undefined) {
      const { meta, body } = batch.snapshot;
      this.snapshots.set(meta.index, { meta, chunks: [...body] });
      this.view.install(meta);
    }
    this.view.append(batch.entries);
    if (options?.lazy !== true) this.#events.push(`sync ${this.view.lastIndex()}`);
  }
  saveSnapshot(): void {
    throw new Error('not used');
  }
  readSnapshot(): undefined {
    return undefined;
  }
  compact(toIndex: number): void {
    this.view.compact(toIndex);
  }
  close(): void {
    this.#events.push('closed');
  }
  beginSnapshot(meta: SnapshotMeta): SnapshotSink {
    const chunks: Uint8Array[] = [];
    return {
      write: (chunk) => {
        if (this.snapshotsFail) throw new DiskFullError('here');
        chunks.push(chunk);
      },
      commit: async () => void this.snapshots.set(meta.index, { meta, chunks }),
      abort: () => undefined,
    };
  }
  adoptSnapshot(meta: SnapshotMeta): void {
    this.view.setSnapshot(meta);
  }
  openSnapshot({ index }: { index: number }): SnapshotBody | undefined {
    return this.damaged ? damagedBody() : this.snapshots.get(index)?.chunks;
  }
  putNote(key: string, value: Uint8Array): void {
    this.notes.set(key, value);
  }
  note(key: string): Uint8Array | undefined {
    return this.notes.get(key);
  }
  setKek(kek: Uint8Array | undefined): boolean {
    return kek !== undefined;
  }
  idle(): boolean {
    if (this.broken) throw new Error('EIO: the disk is gone');
    const isReplaceDue = this.replaceDue;
    this.replaceDue = false;
    return isReplaceDue;
  }
}

function* damagedBody(): Generator<Uint8Array> {
  yield Uint8Array.of(1);
  throw new Error('its checksum is wrong');
}

export class Links implements PeerTransport {
  readonly #events: string[];
  events: TransportEvents | undefined;
  sent: Message[] = [];
  bodies: SnapshotBody[] = [];
  peers: string[] = [];
  constructor(events: string[]) {
    this.#events = events;
  }
  start(_self: RaftId, events: TransportEvents): void {
    this.events = events;
  }
  send(message: Message): void {
    this.sent.push(message);
    this.#events.push(`send ${message.type} to ${message.to[0]}`);
  }
  sendSnapshot(message: Message, body: SnapshotBody): void {
    this.bodies.push(body);
    this.send(message);
  }
  flush(): void {
    this.#events.push('flush');
  }
  setPeers(peers: ReadonlyMap<RaftId, RaftMember>): void {
    this.peers = [...peers.keys()].map((one) => one[0] ?? '');
  }
  tellRemoved(to: RaftId): void {
    this.#events.push(`removed to ${to[0]}`);
  }
  async close(): Promise<void> {
    this.#events.push('links closed');
  }
}

export class World {
  readonly events: string[] = [];
  readonly disk = new Disk(this.events);
  readonly links = new Links(this.events);
  readonly posted: FromNode[] = [];
  node: RaftNode;
  nowMs = 0;
  #timers: { atMs: number; fn: () => void }[] = [];
  #deferred: (() => void)[] = [];
  constructor(start: NodeStart, disk?: Disk, timing: NodeTiming = DEFAULT_TIMING) {
    if (disk !== undefined) this.disk = disk;
    this.node = new RaftNode(
      {
        start,
        clusterId: 'c',
        timing,
        compaction: { snapshotEveryEntries: 20, trailingEntries: 5 },
      },
      {
        storage: this.disk,
        transport: this.links,
        clock: {
          now: () => this.nowMs,
          monotonicMs: () => this.nowMs,
          after: (delayMs, fn) => {
            const timer = { atMs: this.nowMs + delayMs, fn };
            this.#timers.push(timer);
            return { cancel: () => this.#timers.splice(this.#timers.indexOf(timer), 1) };
          },
        },
        random: { next: () => 0.5, bytes: (length) => new Uint8Array(length) },
        log: silentLog,
        defer: (fn) => this.#deferred.push(fn),
        post: (batch) => this.posted.push(...batch),
      },
    );
    this.node.start();
    this.run();
  }
  run(): void {
    while (this.#deferred.length > 0) for (const fn of this.#deferred.splice(0)) fn();
  }
  ticks(count: number): void {
    for (let i = 0; i < count; i++) {
      this.nowMs += DEFAULT_TIMING.tickMs;
      for (const timer of this.#timers.filter(({ atMs }) => atMs <= this.nowMs)) {
        this.#timers.splice(this.#timers.indexOf(timer), 1);
        timer.fn();
      }
      this.run();
    }
  }
  hear(message: Message): void {
    this.links.events?.message(message);
    this.run();
  }
  propose(firstId: number, ...texts: string[]): void {
    const data = texts.map((text) => new TextEncoder().encode(text));
    this.node.take([{ kind: 'propose', firstId, ...pack(data) }]);
    this.run();
  }
  of<K extends FromNode['kind']>(kind: K): Extract<FromNode, { kind: K }>[] {
    return this.posted.filter(
      (event): event is Extract<FromNode, { kind: K }> => event.kind === kind,
    );
  }
}

export const alone = () => new World({ kind: 'bootstrap', member: member('a'), state: [] });

/** A member of a group of three that was told so by a snapshot; `b` leads. */
export function follower(): World {
  const world = new World({
    kind: 'join',
    member: member('a'),
    members: [member('b'), member('c')],
  });
  return world;
}
export const entry = (index: number, term = 2): Entry => ({
  index,
  term,
  type: 'normal',
  data: Uint8Array.of(index),
});
export const append = (prevIndex: number, entries: Entry[], commit = 0): Message => ({
  type: 'append',
  from: id('b'),
  to: id('a'),
  term: 2,
  prevIndex,
  prevTerm: prevIndex === 0 ? 0 : 2,
  commit,
  entries,
});
