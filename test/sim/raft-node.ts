import { decodeMessage, encodeMessage } from '../../manager/raft/codec.ts';
import { type CompactionPolicy, compactTo, snapshotDue } from '../../manager/raft/compaction.ts';
import { EMPTY_CONF } from '../../manager/raft/conf-change.ts';
import type { RaftStart } from '../../manager/raft/core.ts';
import { MemoryLog } from '../../manager/raft/memory-log.ts';
import type {
  ConfState,
  Entry,
  Message,
  Raft,
  RaftId,
  RaftOptions,
  RaftStatus,
  Ready,
  SnapshotMeta,
} from '../../manager/raft/types.ts';
import type { VirtualClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import type { SimNetwork } from './network.ts';
import { chain, type ObservedNode, type RaftChecks } from './raft-checks.ts';
import type { SeededRandom } from './random.ts';

/** A message as bytes, and a snapshot's body beside it, as the transport streams it. */
export type Packet = {
  bytes: Uint8Array;
  body?: readonly Uint8Array[];
  arrived: boolean;
};
export type NodeSettings = Readonly<{
  raft: Omit<RaftOptions, 'id'>;
  tickMs: number;
  compaction: CompactionPolicy;
}>;
/** Upper ends of uniform delays; 0 for none. */
export type NodeDelays = Readonly<{ syncMaxMs: number; applyMaxMs: number }>;
/** What a node shares with the others. */
export type World = Readonly<{
  clock: VirtualClock;
  network: SimNetwork<Packet>;
  checks: RaftChecks;
  settings: NodeSettings;
  delays: () => NodeDelays;
  createCore: (start: RaftStart) => Raft;
  /** Asked at each boundary between two effects: whether the power fails right here. */
  failsHere: (node: SimNode) => boolean;
  /** Every write that was applied anywhere, by index. */
  history: Map<number, string>;
}>;

const SNAPSHOT_REPORT_MS = 400;
const INBOX_LIMIT = 500;
/** Far more than any input gives reason for. */
const MAX_ROUNDS = 10_000;

/** Applied state: how far, and the chain of everything up to there. */
type Machine = { index: number; term: number; link: number; confState: ConfState };
type PendingWrite = { term: number; write: string };
type PendingRead = { context: number; floor: number; index: number };

/**
 * One simulated manager: the production core, the production memory log, a simulated disk and a
 * state machine, driven in the order that `Ready` demands. Between each two effects it may crash.
 */
export class SimNode implements ObservedNode {
  readonly id: RaftId;
  readonly disk = new SimDisk();
  readonly #world: World;
  readonly #random: SeededRandom;
  #core: Raft | undefined;
  /** As of the last time that anything was done to the core. */
  #status: RaftStatus | undefined;
  #memory = new MemoryLog();
  #machine: Machine = { index: 0, term: 0, link: 0, confState: EMPTY_CONF };
  #epoch = 0;
  #paused = false;
  #inbox: Packet[] = [];
  #outstanding: Ready | undefined;
  #toApply: Entry[] = [];
  #applyScheduled = false;
  /** Bodies of snapshots that arrived, by index: the core may yet ask for any of them. */
  #staged = new Map<number, readonly Uint8Array[]>();
  /** Terms of entries handed to the disk, until they are in the memory log. */
  #writing = new Map<number, number>();
  #pendingWrites = new Map<number, PendingWrite>();
  #pendingReads: PendingRead[] = [];
  #readFloors = new Map<number, number>();
  #nextContext = 1;

  constructor(id: RaftId, world: World, random: SeededRandom) {
    this.id = id;
    this.#world = world;
    this.#random = random;
    world.network.attach(id, (_from, packet) => this.#receive(packet));
  }

  // ------------------------------------------------------------------------------ life and death

  get isUp(): boolean {
    return this.#core !== undefined;
  }
  get isPaused(): boolean {
    return this.#paused;
  }
  get machineIndex(): number {
    return this.#machine.index;
  }

  start(): void {
    if (this.#core !== undefined) return;
    const epoch = ++this.#epoch;
    const loaded = this.disk.load();
    const stored = this.disk.readSnapshot();
    this.#memory = new MemoryLog(loaded);
    this.#machine = stored === undefined ? emptyMachine() : restored(stored.meta, stored.body);
    this.#core = this.#world.createCore({
      options: { ...this.#world.settings.raft, id: this.id },
      random: this.#random,
      log: this.#memory,
      hardState: loaded.hardState,
      confState: stored?.meta.confState ?? EMPTY_CONF,
      applied: stored?.meta.index ?? 0,
    });
    this.#world.checks.started(this);
    const tick = () => {
      if (this.#epoch !== epoch) return;
      this.#world.clock.after(this.#world.settings.tickMs, tick);
      if (!this.#paused) this.#do((core) => core.tick());
    };
    this.#world.clock.after(this.#random.next() * this.#world.settings.tickMs, tick);
    this.#pump();
  }

  crash(): void {
    if (this.#core === undefined) return;
    this.#epoch++;
    this.#core = undefined;
    this.#paused = false;
    this.#inbox = [];
    this.#outstanding = undefined;
    this.#toApply = [];
    this.#applyScheduled = false;
    this.#staged.clear();
    this.#writing.clear();
    this.#pendingWrites.clear();
    this.#pendingReads = [];
    this.#readFloors.clear();
    this.disk.crash(this.#random);
  }

  /** The process stands still; what arrives waits. */
  pause(): void {
    this.#paused = this.isUp;
  }

  /** `first` runs before anything that arrived meanwhile: so does a client's request, by chance. */
  resume(first?: () => void): void {
    if (!this.#paused) return;
    this.#paused = false;
    first?.();
    const waiting = this.#inbox;
    this.#inbox = [];
    for (const packet of waiting) this.#receive(packet);
    if (this.#outstanding !== undefined) this.#finish();
    // Before anything is applied: the observer judges a commit by the members that made it.
    this.#pump();
    this.#apply();
  }

  // ---------------------------------------------------------------------------------- from outside

  status(): RaftStatus {
    if (this.#core === undefined) throw new Error(`${this.id} is down`);
    this.#status ??= this.#core.status();
    return this.#status;
  }

  termAt(index: number): number | undefined {
    return this.#writing.get(index) ?? this.#memory.term(index);
  }

  isSettled(): boolean {
    return this.#outstanding === undefined;
  }

  leads(): boolean {
    return this.isUp && !this.#paused && this.status().role === 'leader';
  }

  /** Runs on the core as its owner would, and carries out what comes of it. */
  #do<T>(action: (core: Raft) => T): T | undefined {
    if (this.#core === undefined || this.#paused) return undefined;
    const result = action(this.#core);
    this.#pump();
    return result;
  }

  write(writes: readonly string[]): void {
    this.#do((core) => {
      const result = core.propose(writes.map((write) => new TextEncoder().encode(write)));
      if (result.kind === 'dropped') return;
      for (const [i, write] of writes.entries()) {
        this.#pendingWrites.set(result.first + i, { term: result.term, write });
      }
    });
  }

  read(): void {
    if (!this.isUp || this.#paused) return;
    const context = this.#nextContext++;
    this.#readFloors.set(context, this.#world.checks.visibleIndex);
    this.#do((core) => core.readIndex(context));
  }

  control(action: (core: Raft) => void): void {
    this.#do(action);
  }

  #receive(packet: Packet): void {
    if (this.#core === undefined) return;
    if (this.#paused) {
      if (this.#inbox.length < INBOX_LIMIT) this.#inbox.push(packet);
      return;
    }
    packet.arrived = true;
    const message = decodeMessage(packet.bytes);
    if (message.type === 'snapshot' && packet.body !== undefined) {
      this.#staged.set(message.snapshot.index, packet.body);
    }
    this.#do((core) => core.step(message));
  }

  // -------------------------------------------------------------------------- carrying out a Ready

  #pump(): void {
    this.#status = undefined;
    let rounds = 0;
    while (this.#core?.hasReady() === true && this.#outstanding === undefined) {
      if (++rounds > MAX_ROUNDS) throw new Error(`${this.id} is never done: ready() without end`);
      this.#perform(this.#core.ready());
    }
    if (this.#core !== undefined) this.#world.checks.observe(this);
  }

  #perform(ready: Ready): void {
    const { clock, checks, delays } = this.#world;
    this.#outstanding = ready;
    const first = ready.entries[0];
    if (first !== undefined) {
      const before = ready.snapshot?.index === first.index - 1 ? ready.snapshot.term : undefined;
      checks.appended(ready.entries, before ?? this.termAt(first.index - 1));
      for (const entry of ready.entries) this.#writing.set(entry.index, entry.term);
    }
    this.#takeReads(ready);
    if (ready.snapshot === undefined) this.#enqueue(ready.committedEntries);
    if (this.#failed()) return;
    this.#send(ready.messages);
    if (this.#failed()) return;
    this.#write(ready);
    if (this.#failed()) return;
    const delayMs = ready.mustSync ? this.#random.next() * delays().syncMaxMs : 0;
    if (delayMs === 0) {
      this.#finish();
      return;
    }
    const epoch = this.#epoch;
    clock.after(delayMs, () => {
      if (this.#epoch !== epoch || this.#paused || this.#outstanding !== ready) return;
      this.#finish();
      this.#pump();
    });
  }

  #write({ hardState, snapshot, entries }: Ready): void {
    if (snapshot !== undefined) {
      const install = { meta: snapshot, body: this.#stagedBody(snapshot) };
      this.disk.write({ ...(hardState && { hardState }), snapshot: install, entries });
    } else if (hardState !== undefined || entries.length > 0) {
      this.disk.write({ ...(hardState && { hardState }), entries });
    }
  }

  #stagedBody({ index }: SnapshotMeta): readonly Uint8Array[] {
    const body = this.#staged.get(index);
    if (body === undefined) throw new Error(`snapshot ${index} is to be installed without a body`);
    return body;
  }

  #finish(): void {
    const ready = this.#outstanding;
    if (ready === undefined || this.#core === undefined) return;
    if (ready.mustSync) this.disk.sync();
    if (ready.snapshot !== undefined) {
      this.#memory.install(ready.snapshot);
      this.#machine = restored(ready.snapshot, this.#stagedBody(ready.snapshot));
      this.#staged.clear();
      const { index } = this.#machine;
      this.#toApply = this.#toApply.filter((entry) => entry.index > index);
      this.#world.checks.applied(this.id, index, this.#machine.link);
    }
    this.#memory.append(ready.entries);
    this.#writing.clear();
    if (this.#failed()) return;
    this.#send(ready.messagesAfterSync);
    if (this.#failed()) return;
    this.#outstanding = undefined;
    this.#core.advance();
  }

  #failed(): boolean {
    if (!this.#world.failsHere(this)) return false;
    this.crash();
    return true;
  }

  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      const packet = this.#pack(message);
      this.#world.network.send(this.id, message.to, packet);
      if (message.type === 'snapshot') this.#reportLater(message.to, packet);
    }
  }

  #pack(message: Message): Packet {
    if (message.type !== 'snapshot') return { bytes: encodeMessage(message), arrived: false };
    // The newest there is, as a transport would read it: it may be newer than what the core saw.
    const stored = this.disk.readSnapshot();
    if (stored === undefined) throw new Error('a snapshot is to be sent but none is stored');
    const bytes = encodeMessage({ ...message, snapshot: stored.meta });
    return { bytes, body: stored.body, arrived: false };
  }

  #reportLater(to: RaftId, packet: Packet): void {
    const epoch = this.#epoch;
    const report = () => {
      if (this.#epoch !== epoch) return;
      if (this.#paused) this.#world.clock.after(SNAPSHOT_REPORT_MS, report);
      else this.#do((core) => core.reportSnapshot(to, packet.arrived));
    };
    this.#world.clock.after(SNAPSHOT_REPORT_MS, report);
  }

  // -------------------------------------------------------------------------------------- applying

  #enqueue(entries: readonly Entry[]): void {
    this.#toApply.push(...entries);
    if (this.#toApply.length === 0 || this.#applyScheduled) return;
    this.#applyScheduled = true;
    const epoch = this.#epoch;
    this.#world.clock.after(this.#random.next() * this.#world.delays().applyMaxMs, () => {
      if (this.#epoch === epoch) this.#apply();
    });
  }

  #apply(): void {
    this.#applyScheduled = false;
    if (this.#paused || this.#core === undefined) return;
    const entries = this.#toApply;
    this.#toApply = [];
    for (const entry of entries) this.#applyOne(entry);
    this.#answerReads();
    this.#do((core) => core.applied(this.#machine.index));
    this.#maybeSnapshot();
  }

  #applyOne(entry: Entry): void {
    const machine = this.#machine;
    if (entry.index !== machine.index + 1) {
      throw new Error(`entry ${entry.index} applied after ${machine.index}`);
    }
    machine.index = entry.index;
    machine.term = entry.term;
    machine.link = chain(machine.link, entry);
    this.#world.checks.applied(this.id, entry.index, machine.link);
    if (entry.type === 'conf-change') {
      if (this.#core !== undefined) machine.confState = this.#core.applyConfChange(entry);
      return;
    }
    const write = new TextDecoder().decode(entry.data);
    this.#world.history.set(entry.index, write);
    const pending = this.#pendingWrites.get(entry.index);
    if (pending === undefined) return;
    this.#pendingWrites.delete(entry.index);
    if (pending.term === entry.term && pending.write === write) {
      this.#world.checks.acknowledged(entry.index, write);
    }
  }

  #takeReads({ readStates, droppedReads }: Ready): void {
    for (const { context } of droppedReads) this.#readFloors.delete(context);
    for (const { context, index } of readStates) {
      const floor = this.#readFloors.get(context);
      if (floor === undefined) throw new Error(`read ${context} was answered twice`);
      this.#readFloors.delete(context);
      this.#world.checks.readAnswered(this.id, floor, index);
      this.#pendingReads.push({ context, floor, index });
    }
    this.#answerReads();
  }

  #answerReads(): void {
    const { index } = this.#machine;
    if (this.#pendingReads.some((read) => read.index <= index)) {
      this.#world.checks.observedByClient(index);
      this.#pendingReads = this.#pendingReads.filter((read) => read.index > index);
    }
  }

  #maybeSnapshot(): void {
    const { clock, settings } = this.#world;
    const { index, term, confState, link } = this.#machine;
    if (this.#core === undefined || this.#outstanding !== undefined) return;
    if (!snapshotDue(settings.compaction, index, this.#memory.snapshot()?.index ?? 0)) return;
    const meta: SnapshotMeta = { index, term, confState };
    this.disk.saveSnapshot(meta, [encodeLink(link)]);
    this.#memory.setSnapshot(meta);
    const epoch = this.#epoch;
    // Compaction is an effect of its own: a crash may come in between.
    clock.after(this.#random.next() * 100, () => {
      if (this.#epoch !== epoch || this.#outstanding !== undefined) return;
      const to = Math.min(compactTo(settings.compaction, index), this.#memory.lastIndex());
      if (to < this.#memory.firstIndex()) return;
      this.disk.compact(to);
      this.#memory.compact(to);
    });
  }
}

function emptyMachine(): Machine {
  return { index: 0, term: 0, link: 0, confState: EMPTY_CONF };
}

function encodeLink(link: number): Uint8Array {
  return new TextEncoder().encode(String(link));
}

function restored(meta: SnapshotMeta, body: readonly Uint8Array[]): Machine {
  const { index, term, confState } = meta;
  const link = Number(body.map((chunk) => new TextDecoder().decode(chunk)).join(''));
  return { index, term, link, confState };
}
