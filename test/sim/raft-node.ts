import { decodeMessage, encodeMessage } from '../../manager/raft/codec.ts';
import { compactTo, snapshotDue } from '../../manager/raft/compaction.ts';
import { EMPTY_CONF } from '../../manager/raft/conf-change.ts';
import { MemoryLog } from '../../manager/raft/memory-log.ts';
import type {
  ConfState,
  Entry,
  Message,
  Raft,
  RaftId,
  RaftStatus,
  Ready,
  SnapshotMeta,
} from '../../manager/raft/types.ts';
import { DiskError, SimDisk } from './disk.ts';
import { KvMachine } from './kv.ts';
import { chain, type ObservedNode } from './raft-checks.ts';
import { Desk } from './raft-desk.ts';
import type { Answer, Packet, Place, Request, World } from './raft-world.ts';
import type { SeededRandom } from './random.ts';

const SNAPSHOT_REPORT_MS = 400;
const INBOX_LIMIT = 500;
/** Far more than any input gives reason for. */
const MAX_ROUNDS = 10_000;
/** Between two steps of taking a snapshot. */
const SNAPSHOT_STEP_MS = 40;

/** Applied state: how far, the chain of everything up to there, and what came of it. */
type Machine = { index: number; term: number; link: number; confState: ConfState; kv: KvMachine };

/**
 * One simulated manager: the production core, the production memory log, a simulated disk and a
 * state machine, driven in the order that `Ready` demands. Between each two effects it may crash.
 */
export class SimNode implements ObservedNode {
  readonly id: RaftId;
  readonly disk = new SimDisk();
  readonly #world: World<SimNode>;
  readonly #random: SeededRandom;
  readonly #desk: Desk;
  #core: Raft | undefined;
  /** As of the last time that anything was done to the core. */
  #status: RaftStatus | undefined;
  #memory = new MemoryLog();
  #machine: Machine;
  #epoch = 0;
  #paused = false;
  #lost = false;
  #tickMs: number;
  #inbox: (() => void)[] = [];
  #outstanding: Ready | undefined;
  #toApply: Entry[] = [];
  #applyScheduled = false;
  #takingSnapshot = false;
  /** Bodies of snapshots that arrived, by index: the core may yet ask for any of them. */
  readonly #staged = new Map<number, readonly Uint8Array[]>();
  /** Terms of entries handed to the disk, until they are in the memory log. */
  readonly #writing = new Map<number, number>();
  constructor(id: RaftId, world: World<SimNode>, random: SeededRandom) {
    this.id = id;
    this.#world = world;
    this.#random = random;
    this.#tickMs = world.settings.tickMs;
    this.#machine = this.#emptyMachine();
    this.disk.failSyncs(() => world.syncFails());
    this.#desk = new Desk({
      id,
      world,
      run: (action) => this.#do(action),
      leads: () => this.leads(),
      machine: () => this.#machine,
    });
    world.network.attach(id, (_from, packet) => this.#receive(packet));
  }

  // ------------------------------------------------------------------------------ life and death

  get isUp(): boolean {
    return this.#core !== undefined;
  }
  get isPaused(): boolean {
    return this.#paused;
  }
  /** Its disk is gone: it never comes back. */
  get isLost(): boolean {
    return this.#lost;
  }
  get machineIndex(): number {
    return this.#machine.index;
  }
  get digest(): number {
    return this.#machine.kv.digest();
  }

  start(): void {
    if (this.#core !== undefined || this.#lost) return;
    const epoch = ++this.#epoch;
    this.#trace('starts');
    const loaded = this.disk.load();
    const stored = this.disk.readSnapshot();
    this.#memory = new MemoryLog(loaded);
    this.#machine =
      stored === undefined ? this.#emptyMachine() : this.#restored(stored.meta, stored.body);
    this.#core = this.#world.production.createCore({
      options: { ...this.#world.settings.raft, id: this.id },
      random: this.#random,
      log: this.#memory,
      hardState: loaded.hardState,
      confState: stored?.meta.confState ?? EMPTY_CONF,
      applied: stored?.meta.index ?? 0,
    });
    this.#status = undefined;
    this.#world.checks.started(this);
    const tick = () => {
      if (this.#epoch !== epoch) return;
      this.#world.clock.later(this.#tickMs, tick);
      if (!this.#paused) this.#do((core) => core.tick());
    };
    this.#world.clock.later(this.#random.next() * this.#tickMs, tick);
    this.#pump();
  }

  crash(): void {
    if (this.#core === undefined) return;
    this.#trace('crashes');
    this.#epoch++;
    this.#core = undefined;
    this.#paused = false;
    this.#inbox = [];
    this.#outstanding = undefined;
    this.#toApply = [];
    this.#applyScheduled = false;
    this.#takingSnapshot = false;
    this.#staged.clear();
    this.#writing.clear();
    this.#desk.clear();
    this.disk.crash(this.#random);
  }

  /** The disk is gone with all that was on it. */
  lose(): void {
    this.crash();
    this.#lost = true;
    this.#trace('loses its disk for good');
  }

  /** The process stands still; what arrives waits. */
  pause(): void {
    this.#paused = this.isUp;
    if (this.#paused) this.#trace('stands still');
  }

  /** `first` runs before anything that arrived meanwhile: so does a client's request, by chance. */
  resume(first?: () => void): void {
    if (!this.#paused) return;
    this.#trace('goes on');
    this.#paused = false;
    const epoch = this.#epoch;
    first?.();
    const waiting = this.#inbox;
    this.#inbox = [];
    for (const input of waiting) if (this.#epoch === epoch) input();
    if (this.#epoch !== epoch) return;
    if (this.#outstanding !== undefined) this.#finish();
    // Before anything is applied: the observer judges a commit by the members that made it.
    this.#pump();
    this.#apply();
  }

  /** Its clock runs at another speed from now on: ticks come each `tickMs`. */
  setTick(tickMs: number): void {
    this.#tickMs = tickMs;
    this.#trace('ticks every', tickMs);
  }

  /** Time jumps forward: many ticks at once. */
  jump(ticks: number): void {
    this.#trace('jumps ahead by ticks', ticks);
    const epoch = this.#epoch;
    for (let i = 0; i < ticks && this.#epoch === epoch; i++) this.#do((core) => core.tick());
  }

  #emptyMachine(): Machine {
    const { production, settings } = this.#world;
    const kv = new KvMachine(new production.Sessions(settings.sessions));
    return { index: 0, term: 0, link: 0, confState: EMPTY_CONF, kv };
  }

  #restored(meta: SnapshotMeta, body: readonly Uint8Array[]): Machine {
    const { index, term, confState } = meta;
    const [chain, sessions, numbers] = body;
    if (chain === undefined || sessions === undefined || numbers === undefined) {
      throw new Error(`snapshot ${index} lacks a part of its body`);
    }
    const [link = 0] = new Uint32Array(chain.slice().buffer);
    const { production, settings } = this.#world;
    const known = production.Sessions.decode(sessions, settings.sessions);
    const kv = KvMachine.decode(known, numbers);
    return { index, term, link, confState, kv };
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

  /** A client of this manager calls; no answer comes when it dies. */
  request(request: Request, answer: (answer: Answer) => void): void {
    this.#input(() => {
      if (!this.#desk.take(request, answer)) return;
      const epoch = this.#epoch;
      this.#world.clock.later(this.#random.next() * this.#world.settings.batchMaxMs, () => {
        if (this.#epoch === epoch) this.#input(() => this.#desk.flush());
      });
    });
  }

  control(action: (core: Raft) => void): void {
    this.#do(action);
  }

  #input(input: () => void): void {
    if (this.#core === undefined) return;
    if (!this.#paused) input();
    else if (this.#inbox.length < INBOX_LIMIT) this.#inbox.push(input);
  }

  #receive(packet: Packet): void {
    this.#input(() => this.#take(packet));
  }

  #take(packet: Packet): void {
    packet.arrived = true;
    const message = packet.bytes === undefined ? packet.message : decodeMessage(packet.bytes);
    this.#trace('gets', message);
    if (message.type === 'snapshot' && packet.body !== undefined) {
      this.#staged.set(message.snapshot.index, packet.body);
      if (this.#failed('snapshot-received')) return;
    }
    this.#do((core) => core.step(message));
  }

  #trace(what: string, detail?: Message | string | number): void {
    this.#world.events.note(this.#world.clock.monotonicMs(), this.id, what, detail);
  }

  // -------------------------------------------------------------------------- carrying out a Ready

  #pump(): void {
    let rounds = 0;
    try {
      while (this.#core?.hasReady() === true && this.#outstanding === undefined) {
        if (++rounds > MAX_ROUNDS) throw new Error(`${this.id} is never done: ready() without end`);
        this.#status = undefined;
        this.#perform(this.#core.ready());
      }
    } catch (error) {
      this.#onDiskError(error);
    }
    if (this.#core === undefined || (rounds === 0 && this.#outstanding === undefined)) return;
    this.#status = undefined;
    this.#world.checks.observe(this);
    const { role, term } = this.status();
    this.#desk.lostBefore(role === 'leader' ? term : Number.POSITIVE_INFINITY);
  }

  /** A disk that fails ends the program, whatever it was about to do. */
  #onDiskError(error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    this.#trace('its disk answers', error.code);
    this.crash();
    this.#world.died(this);
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
    this.#takeAnswers(ready);
    if (ready.snapshot === undefined) this.#enqueue(ready.committedEntries);
    if (this.#failed('before-send')) return;
    if (!this.#send(ready.messages)) return;
    if (this.#failed('before-append')) return;
    this.#write(ready);
    if (this.#failed('before-sync')) return;
    const delayMs = ready.mustSync ? this.#random.next() * delays(this).syncMaxMs : 0;
    if (delayMs === 0) {
      this.#finish();
      return;
    }
    const epoch = this.#epoch;
    clock.later(delayMs, () => {
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
    try {
      if (ready.mustSync) this.disk.sync();
    } catch (error) {
      this.#onDiskError(error);
      return;
    }
    if (ready.snapshot !== undefined) {
      this.#memory.install(ready.snapshot);
      this.#machine = this.#restored(ready.snapshot, this.#stagedBody(ready.snapshot));
      const { index, link, kv } = this.#machine;
      // A newer one may have come while this one was being written.
      for (const staged of this.#staged.keys()) if (staged <= index) this.#staged.delete(staged);
      this.#toApply = this.#toApply.filter((entry) => entry.index > index);
      this.#world.checks.applied(this.id, index, link);
      this.#world.checks.state(this.id, index, kv.digest());
      this.#desk.restoredTo(index);
    }
    this.#memory.append(ready.entries);
    this.#writing.clear();
    if (this.#failed('after-sync')) return;
    if (!this.#send(ready.messagesAfterSync)) return;
    if (this.#failed('after-answers')) return;
    this.#outstanding = undefined;
    this.#status = undefined;
    this.#core.advance();
  }

  #failed(place: Place): boolean {
    if (!this.#world.failsHere(place)) return false;
    this.#trace('power fails', place);
    this.crash();
    this.#world.died(this);
    return true;
  }

  /** False when it dies between two of them. */
  #send(messages: readonly Message[]): boolean {
    for (const message of messages) {
      const packet = this.#pack(message);
      this.#world.network.send(this.id, message.to, packet);
      if (message.type === 'snapshot') this.#reportLater(message.to, packet);
      if (this.#failed('between-sends')) return false;
    }
    return true;
  }

  #pack(message: Message): Packet {
    const { encodes } = this.#world.settings;
    if (message.type !== 'snapshot') {
      const bytes = encodes ? encodeMessage(message) : undefined;
      return { message, bytes, body: undefined, arrived: false };
    }
    // The newest there is, as a transport would read it: it may be newer than what the core saw.
    const stored = this.disk.readSnapshot();
    if (stored === undefined) throw new Error('a snapshot is to be sent but none is stored');
    const newest = { ...message, snapshot: stored.meta };
    const bytes = encodes ? encodeMessage(newest) : undefined;
    return { message: newest, bytes, body: stored.body, arrived: false };
  }

  #reportLater(to: RaftId, packet: Packet): void {
    const epoch = this.#epoch;
    this.#world.clock.later(SNAPSHOT_REPORT_MS, () => {
      if (this.#epoch !== epoch) return;
      this.#input(() => this.#do((core) => core.reportSnapshot(to, packet.arrived)));
    });
  }

  // -------------------------------------------------------------------------------------- applying

  #enqueue(entries: readonly Entry[]): void {
    for (const entry of entries) this.#toApply.push(entry);
    if (this.#toApply.length === 0 || this.#applyScheduled) return;
    this.#applyScheduled = true;
    const epoch = this.#epoch;
    this.#world.clock.later(this.#random.next() * this.#world.delays(this).applyMaxMs, () => {
      if (this.#epoch === epoch) this.#apply();
    });
  }

  #apply(): void {
    this.#applyScheduled = false;
    if (this.#paused || this.#core === undefined) return;
    const entries = this.#toApply;
    this.#toApply = [];
    if (this.#failed('before-apply')) return;
    for (const entry of entries) this.#applyOne(entry);
    this.#world.checks.state(this.id, this.#machine.index, this.#machine.kv.digest());
    this.#desk.answerReads();
    this.#status = undefined;
    this.#do((core) => core.applied(this.#machine.index));
    if (this.#failed('after-apply')) return;
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
      if (this.#core === undefined) return;
      machine.confState = this.#core.applyConfChange(entry);
      this.#status = undefined;
      this.#trace('has members', machine.confState.voters.join(' '));
      return;
    }
    const { commands, history, checks } = this.#world;
    const applied =
      entry.data.length === 0 ? undefined : machine.kv.apply(entry.index, entry.data, commands);
    history.set(entry.index, applied?.command ?? 0);
    if (applied === undefined) return;
    if (applied.kind === 'done' && !applied.again) {
      checks.executed(this.id, entry.index, applied.command);
    }
    const answer: Answer =
      applied.kind === 'no-session'
        ? { kind: 'no-session' }
        : { kind: 'ok', output: applied.output };
    this.#desk.applied(entry.index, entry.term, answer, applied.command);
  }

  #takeAnswers(ready: Ready): void {
    const { readStates, droppedReads } = ready;
    for (const { context } of droppedReads) this.#desk.dropRead(context);
    for (const { context, index } of readStates) this.#desk.readConfirmed(context, index);
    for (const outcome of ready.forwarded) this.#desk.forwardEnded(outcome);
    this.#desk.answerReads();
  }

  // ----------------------------------------------------------------------------------- snapshots

  /** Written beside, synced and renamed, marked, and only then the log is cut: each may be the last. */
  #maybeSnapshot(): void {
    const { settings } = this.#world;
    const { index, term, confState, link, kv } = this.#machine;
    if (this.#core === undefined || this.#takingSnapshot) return;
    if (!snapshotDue(settings.compaction, index, this.#memory.snapshot()?.index ?? 0)) return;
    const meta: SnapshotMeta = { index, term, confState };
    const body = encodeState(link, kv);
    this.#takingSnapshot = true;
    this.#then(
      'snapshot-written',
      () => this.disk.writeSnapshot(meta, body),
      () =>
        this.#then(
          'snapshot-named',
          () => this.disk.nameSnapshot(),
          () =>
            this.#then(
              'snapshot-marked',
              () => this.#adopt(meta),
              () =>
                this.#then(
                  'log-truncated',
                  () => this.#compact(meta),
                  () => undefined,
                ),
            ),
        ),
    );
  }

  /** A step on the disk, a chance to fail right after it, and the next step a little later. */
  #then(place: Place, step: () => void, next: () => void): void {
    const epoch = this.#epoch;
    const run = () => {
      if (this.#epoch !== epoch) return;
      if (this.#paused || this.#outstanding !== undefined) {
        this.#world.clock.later(SNAPSHOT_STEP_MS, run);
        return;
      }
      try {
        step();
      } catch (error) {
        this.#onDiskError(error);
        return;
      }
      if (!this.#failed(place)) next();
    };
    this.#world.clock.later(this.#random.next() * SNAPSHOT_STEP_MS, run);
  }

  #adopt(meta: SnapshotMeta): void {
    // A snapshot from the leader came in between: this one is older than that.
    if (this.#memory.term(meta.index) !== meta.term) return;
    if (meta.index <= (this.#memory.snapshot()?.index ?? 0)) return;
    this.disk.markSnapshot();
    this.#memory.setSnapshot(meta);
  }

  #compact(meta: SnapshotMeta): void {
    this.#takingSnapshot = false;
    if (this.#memory.snapshot()?.index !== meta.index) return;
    const to = Math.min(
      compactTo(this.#world.settings.compaction, meta.index),
      this.#memory.lastIndex(),
    );
    if (to < this.#memory.firstIndex()) return;
    this.disk.compact(to);
    this.#memory.compact(to);
  }
}

/** The chain in the first chunk, then what the machine says of itself. */
export function encodeState(link: number, kv: KvMachine): readonly Uint8Array[] {
  return [new Uint8Array(Uint32Array.of(link).buffer), ...kv.encode()];
}
