import type { ForwardOutcome, Raft, RaftId } from '../../manager/raft/types.ts';
import type { KvMachine } from './kv.ts';
import type { Answer, ReadRequest, Request, World, WriteRequest } from './raft-world.ts';

type Reply = (answer: Answer) => void;
/** `term`: undefined when it is known to be committed at its index. */
type PendingWrite = Readonly<{ term: number | undefined; command: number; reply: Reply }>;
type PendingRead = Readonly<{ key: number; floor: number; reply: Reply }>;

const ANSWERS_KEPT = 300;

export type DeskPorts = Readonly<{
  id: RaftId;
  world: Pick<World<never>, 'checks'>;
  /** Runs on the core, and carries out what comes of it. */
  run: (action: (core: Raft) => void) => void;
  /** Whether this node leads, and may append by itself. */
  leads: () => boolean;
  /** Applied state, and up to where. */
  machine: () => Readonly<{ index: number; kv: KvMachine }>;
}>;

/** Requests that wait at one manager for Raft. A crash forgets them all. */
export class Desk {
  readonly #ports: DeskPorts;
  readonly #writes = new Map<number, PendingWrite>();
  readonly #forwarded = new Map<number, Readonly<{ command: number; reply: Reply }>>();
  readonly #asked = new Map<number, PendingRead>();
  /** Of the entries applied last, by index. */
  readonly #answers = new Map<number, Answer>();
  #confirmed: (PendingRead & Readonly<{ index: number }>)[] = [];
  /** Writes of one turn become one batch. */
  #batch: Readonly<{ request: WriteRequest; reply: Reply }>[] = [];
  #nextContext = 1;
  constructor(ports: DeskPorts) {
    this.#ports = ports;
  }

  clear(): void {
    this.#writes.clear();
    this.#forwarded.clear();
    this.#asked.clear();
    this.#answers.clear();
    this.#confirmed = [];
    this.#batch = [];
    // #nextContext goes on: a late answer must not meet a read that came after.
  }

  /** True when a batch was begun, which `flush` is to end. */
  take(request: Request, reply: Reply): boolean {
    if (request.kind === 'read') {
      this.#read(request, reply);
      return false;
    }
    this.#batch.push({ request, reply });
    return this.#batch.length === 1;
  }

  /** Appends what is waiting, or sends it to the leader. */
  flush(): void {
    const batch = this.#batch;
    this.#batch = [];
    if (batch.length === 0) return;
    if (!this.#ports.leads()) {
      for (const { request, reply } of batch) this.#forward(request, reply);
      return;
    }
    this.#ports.run((core) => {
      const result = core.propose(batch.map(({ request }) => request.data));
      for (const [i, { request, reply }] of batch.entries()) {
        if (result.kind === 'dropped') reply({ kind: 'refused' });
        else {
          const { command } = request;
          this.#writes.set(result.first + i, { term: result.term, command, reply });
        }
      }
    });
  }

  // ------------------------------------------------------------------------------------------ writes

  #forward({ command, data }: WriteRequest, reply: Reply): void {
    this.#ports.run((core) => {
      const result = core.forwardProposal([data]);
      if (result.kind === 'dropped') reply({ kind: 'refused' });
      else this.#forwarded.set(result.requestId, { command, reply });
    });
  }

  forwardEnded(outcome: ForwardOutcome): void {
    const pending = this.#forwarded.get(outcome.requestId);
    if (pending === undefined) {
      throw new Error(`forwarded proposal ${outcome.requestId} has two outcomes`);
    }
    this.#forwarded.delete(outcome.requestId);
    const { command, reply } = pending;
    if (outcome.outcome !== 'committed') {
      reply({ kind: outcome.outcome });
      return;
    }
    if (outcome.first > this.#ports.machine().index) {
      this.#writes.set(outcome.first, { term: undefined, command, reply });
      return;
    }
    // The entry was faster than the leader's word of it. What a snapshot brought nobody can tell.
    const answer = this.#answers.get(outcome.first) ?? { kind: 'unknown' };
    if (answer.kind === 'ok') this.#done(outcome.first, command, answer.output, reply);
    else reply(answer);
  }

  applied(index: number, term: number, answer: Answer, command: number): void {
    this.#answers.set(index, answer);
    this.#answers.delete(index - ANSWERS_KEPT);
    const pending = this.#writes.get(index);
    if (pending === undefined) return;
    this.#writes.delete(index);
    const isIt = pending.term === undefined || pending.term === term;
    if (isIt && pending.command !== command) {
      throw new Error(`entry ${index} was said to be command ${pending.command}, not ${command}`);
    }
    if (!isIt) pending.reply({ kind: 'unknown' });
    else if (answer.kind !== 'ok') pending.reply(answer);
    else this.#done(index, command, answer.output, pending.reply);
  }

  #done(index: number, command: number, output: number, reply: Reply): void {
    this.#ports.world.checks.acknowledged(index, command);
    reply({ kind: 'ok', output });
  }

  /** Leadership before `term` is over: its entries may be kept by the next leader or not. */
  lostBefore(term: number): void {
    if (this.#writes.size === 0) return;
    for (const [index, pending] of this.#writes) {
      if (pending.term === undefined || pending.term >= term) continue;
      this.#writes.delete(index);
      pending.reply({ kind: 'unknown' });
    }
  }

  /** A snapshot took the place of entries that were never applied one by one. */
  restoredTo(index: number): void {
    for (const [at, pending] of this.#writes) {
      if (at > index) continue;
      this.#writes.delete(at);
      pending.reply({ kind: 'unknown' });
    }
  }

  // ------------------------------------------------------------------------------------------- reads

  #read({ key }: ReadRequest, reply: Reply): void {
    const context = this.#nextContext++;
    this.#asked.set(context, { key, floor: this.#ports.world.checks.visibleIndex, reply });
    this.#ports.run((core) => core.readIndex(context));
  }

  dropRead(context: number): void {
    const read = this.#asked.get(context);
    this.#asked.delete(context);
    read?.reply({ kind: 'refused' });
  }

  readConfirmed(context: number, index: number): void {
    const read = this.#asked.get(context);
    if (read === undefined) throw new Error(`read ${context} was answered twice`);
    this.#asked.delete(context);
    this.#ports.world.checks.readAnswered(this.#ports.id, read.floor, index);
    this.#confirmed.push({ ...read, index });
  }

  answerReads(): void {
    if (this.#confirmed.length === 0) return;
    const { index, kv } = this.#ports.machine();
    const due = this.#confirmed.filter((read) => read.index <= index);
    if (due.length === 0) return;
    this.#confirmed = this.#confirmed.filter((read) => read.index > index);
    this.#ports.world.checks.observedByClient(index);
    for (const { key, reply } of due) reply({ kind: 'ok', output: kv.get(key) });
  }
}
