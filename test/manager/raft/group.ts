import { bootstrapState } from '../../../manager/raft/bootstrap.ts';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { RaftCore } from '../../../manager/raft/core.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import type {
  ConfChange,
  ConfState,
  DroppedRead,
  Entry,
  ForwardOutcome,
  HardState,
  Message,
  ProgressView,
  ProposeResult,
  RaftId,
  RaftOptions,
  RaftStatus,
  ReadState,
  Ready,
  SnapshotMeta,
} from '../../../manager/raft/types.ts';
import { SeededRandom } from '../../sim/random.ts';

export const OPTIONS: Omit<RaftOptions, 'id'> = {
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: true,
  checkQuorum: true,
  maxMessageBytes: 1 << 20,
  maxInflightMessages: 256,
  maxInflightBytes: 1 << 24,
  maxUncommittedBytes: 1 << 24,
  maxApplyingBytes: 1 << 24,
  maxPendingReads: 100,
  readMode: 'quorum',
};

/** `a` as a full-length id. */
export function raftId(name: string): RaftId {
  return name.padStart(25, '0') as RaftId;
}

export function nameOf(id: RaftId): string {
  return id.replace(/^0+/, '');
}

export function entry(index: number, term: number, text = `${term}.${index}`): Entry {
  return { index, term, type: 'normal', data: bytes(text) };
}

/** A log by the terms of its entries; the first has index 1. */
export function logOf(...terms: readonly number[]): Entry[] {
  return terms.map((term, i) => entry(i + 1, term));
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function change(kind: ConfChange['kind'], name: string): ConfChange {
  return { kind, id: raftId(name), context: new Uint8Array(0) };
}

export type MemberStart = Partial<{
  options: Partial<RaftOptions>;
  entries: readonly Entry[];
  hardState: HardState;
  confState: ConfState;
  snapshot: SnapshotMeta;
}>;

/** One core whose `Ready`s are carried out at once and in order, keeping what came out of them. */
export class Member {
  readonly id: RaftId;
  readonly #options: Partial<RaftOptions>;
  readonly log: MemoryLog;
  readonly core: RaftCore;
  hardState: HardState;
  readonly applied: Entry[] = [];
  readonly readStates: ReadState[] = [];
  readonly droppedReads: DroppedRead[] = [];
  readonly forwarded: ForwardOutcome[] = [];
  readonly installed: SnapshotMeta[] = [];
  /** While false, committed entries wait in `toApply`. */
  applies = true;
  toApply: Entry[] = [];

  constructor(name: string, start: MemberStart) {
    this.id = raftId(name);
    this.#options = start.options ?? {};
    const { snapshot, entries = [] } = start;
    this.log = new MemoryLog({
      snapshot,
      entries,
      compacted: { index: snapshot?.index ?? 0, term: snapshot?.term ?? 0 },
    });
    const term = entries.at(-1)?.term ?? snapshot?.term ?? 0;
    this.hardState = start.hardState ?? { term, vote: undefined, commit: snapshot?.index ?? 0 };
    this.core = new RaftCore({
      options: { ...OPTIONS, ...start.options, id: this.id },
      random: new SeededRandom(name.charCodeAt(0)),
      log: this.log,
      hardState: this.hardState,
      confState: start.confState ?? snapshot?.confState ?? EMPTY_CONF,
      applied: snapshot?.index ?? 0,
    });
  }

  get status(): RaftStatus {
    return this.core.status();
  }

  /** Carries out everything there is to do; gives the messages in the order they left. */
  run(): Message[] {
    const sent: Message[] = [];
    while (this.core.hasReady()) sent.push(...this.carryOut(this.core.ready()));
    return sent;
  }

  carryOut(ready: Ready): Message[] {
    this.persist(ready);
    this.core.advance();
    this.readStates.push(...ready.readStates);
    this.droppedReads.push(...ready.droppedReads);
    this.forwarded.push(...ready.forwarded);
    this.toApply.push(...ready.committedEntries);
    if (this.applies) this.apply();
    return [...ready.messages, ...ready.messagesAfterSync];
  }

  persist(ready: Ready): void {
    if (ready.hardState !== undefined) this.hardState = ready.hardState;
    if (ready.snapshot !== undefined) {
      this.log.install(ready.snapshot);
      this.installed.push(ready.snapshot);
    }
    this.log.append(ready.entries);
  }

  apply(): void {
    for (const next of this.toApply) {
      this.applied.push(next);
      if (next.type === 'conf-change') this.core.applyConfChange(next);
      this.core.applied(next.index);
    }
    this.toApply = [];
  }

  /** A snapshot of its own at `index`, and the log gone up to `trailing` entries before it. */
  compact(index: number, trailing = 0): SnapshotMeta {
    const meta = { index, term: this.log.term(index) ?? 0, confState: this.status.confState };
    this.log.setSnapshot(meta);
    this.log.compact(index - trailing);
    return meta;
  }

  /** What it knows, as the leader, of another member's log. */
  progress(name: string): ProgressView {
    const found = this.status.progress.find(({ id }) => id === raftId(name));
    if (found === undefined) throw new Error(`the leader knows no ${name}`);
    return found;
  }

  /** Its configuration in short: `abc`, `abc|d` with a learner, `bcd&abc` while joint. */
  conf(): string {
    const { voters, learners, votersOutgoing, learnersNext, autoLeave } = this.status.confState;
    const names = (ids: readonly RaftId[]) => ids.map(nameOf).join('');
    const outgoing = votersOutgoing.length > 0 ? `&${names(votersOutgoing)}` : '';
    const others = learners.length > 0 ? `|${names(learners)}` : '';
    const next = learnersNext.length > 0 ? ` then |${names(learnersNext)}` : '';
    return `${names(voters)}${outgoing}${others}${next}${autoLeave ? ' auto' : ''}`;
  }

  propose(...texts: readonly string[]): ProposeResult {
    return this.core.propose(texts.map(bytes));
  }

  /** Terms of the whole log, durable part. */
  terms(): number[] {
    const first = this.log.firstIndex();
    return Array.from(
      { length: this.log.lastIndex() - first + 1 },
      (_, i) => this.log.term(first + i) ?? 0,
    );
  }

  appliedTexts(): string[] {
    const writes = this.applied.filter(({ type }) => type === 'normal');
    const texts = writes.map(({ data }) => new TextDecoder().decode(data));
    return texts.filter((text) => text !== '');
  }

  /** As after a crash of the process: a new core from what is on disk. */
  restarted(): Member {
    const snapshot = this.log.snapshot();
    return new Member(nameOf(this.id), {
      options: this.#options,
      entries: this.log.entries(this.log.firstIndex(), this.log.lastIndex() + 1, 1 << 30),
      hardState: this.hardState,
      ...(snapshot && { snapshot }),
    });
  }
}

export type Filter = (message: Message) => boolean;

/** Members by name and the messages between them; nothing moves unless told. */
export class Group {
  readonly members = new Map<RaftId, Member>();
  readonly cut = new Set<string>();
  /** All that was ever sent. */
  readonly sent: Message[] = [];
  #waiting: Message[] = [];

  /** Voters `a`, `b`, ... of a new cluster. */
  static of(voters: number, options: Partial<RaftOptions> = {}): Group {
    const names = Array.from({ length: voters }, (_, i) => String.fromCharCode(97 + i));
    const { snapshot, hardState } = bootstrapState(names.map(raftId));
    return new Group(names.map((name) => new Member(name, { options, snapshot, hardState })));
  }

  /** Voters with given logs, in terms by index from 1; nothing is committed yet. */
  static withLogs(
    logs: Readonly<Record<string, readonly number[]>>,
    options: Partial<RaftOptions> = {},
  ): Group {
    const names = Object.keys(logs);
    const confState = { ...EMPTY_CONF, voters: names.map(raftId) };
    return new Group(
      names.map(
        (name) => new Member(name, { options, confState, entries: logOf(...(logs[name] ?? [])) }),
      ),
    );
  }

  constructor(members: readonly Member[]) {
    for (const member of members) this.add(member);
  }

  add(member: Member): Member {
    this.members.set(member.id, member);
    return member;
  }

  get(name: string): Member {
    const member = this.members.get(raftId(name));
    if (member === undefined) throw new Error(`there is no member ${name}`);
    return member;
  }

  /** Carries out what is due everywhere; gives the messages that now wait. */
  run(): readonly Message[] {
    for (const member of this.members.values()) {
      const sent = member.run();
      this.sent.push(...sent);
      this.#waiting.push(...sent);
    }
    return this.#waiting;
  }

  /** Delivers what waits, but for what `drop` matches or a cut link loses. */
  deliver(drop: Filter = () => false): void {
    const batch = this.#waiting;
    this.#waiting = [];
    for (const message of batch) {
      if (drop(message) || this.cut.has(link(message.from, message.to))) continue;
      this.members.get(message.to)?.core.step(message);
    }
  }

  /** Runs and delivers until nothing moves any more. */
  settle(drop?: Filter): void {
    for (let round = 0; round < 1_000; round++) {
      if (this.run().length === 0) return;
      this.deliver(drop);
    }
    throw new Error('messages go round without end');
  }

  tick(name: string, times = 1): void {
    for (let i = 0; i < times; i++) this.get(name).core.tick();
  }

  /** All tick together, and everything is delivered after each tick. */
  pass(ticks: number, drop?: Filter): void {
    for (let i = 0; i < ticks; i++) {
      for (const member of this.members.values()) member.core.tick();
      this.settle(drop);
    }
  }

  elect(name: string): Member {
    const member = this.get(name);
    member.core.campaign();
    this.settle();
    if (member.status.role !== 'leader') throw new Error(`${name} was not elected`);
    return member;
  }

  /** As after a crash of the process: what was not on disk is gone. */
  restart(name: string): Member {
    return this.add(this.get(name).restarted());
  }

  /** Whoever leads, in the newest term. */
  leader(): Member {
    const leaders = [...this.members.values()].filter(({ status }) => status.role === 'leader');
    const [first] = leaders.sort((x, y) => y.status.term - x.status.term);
    if (first === undefined) throw new Error('nobody leads');
    return first;
  }

  /** The two sides hear nothing of each other. */
  split(one: string, other: string): void {
    for (const from of one) {
      for (const to of other) {
        this.cut.add(link(raftId(from), raftId(to)));
        this.cut.add(link(raftId(to), raftId(from)));
      }
    }
  }

  isolate(name: string): void {
    for (const other of this.members.keys()) {
      this.cut.add(link(raftId(name), other));
      this.cut.add(link(other, raftId(name)));
    }
  }

  mend(): void {
    this.cut.clear();
  }

  roles(): Record<string, string> {
    return Object.fromEntries(
      [...this.members.values()].map(({ id, status }) => [nameOf(id), status.role]),
    );
  }
}

function link(from: RaftId, to: RaftId): string {
  return `${from}>${to}`;
}
