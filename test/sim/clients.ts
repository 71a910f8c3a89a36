import type { VirtualClock } from './clock.ts';
import { type Commands, encodeCommand, OPEN_SESSION } from './kv.ts';
import type { RegisterInput, RegisterOperation } from './linearizability/register.ts';
import type { Answer, Request } from './raft-world.ts';
import type { SeededRandom } from './random.ts';

/** A manager as its clients see it. */
export interface Served {
  readonly isUp: boolean;
  request(request: Request, answer: (answer: Answer) => void): void;
}

export type ClientOptions = Readonly<{
  keys: number;
  /** Longest pause between two calls. */
  thinkMaxMs: number;
  timeoutMs: number;
  /** Tries of one call, at any managers; after that its outcome is not known. */
  tries: number;
}>;

export type ClientPorts = Readonly<{
  clock: VirtualClock;
  random: SeededRandom;
  commands: Commands;
  managers: () => readonly Served[];
  history: History;
}>;

/** What the clients of a run saw. Its times count calls and answers, so that no two are equal. */
export class History {
  readonly operations: RegisterOperation[] = [];
  #now = 0;

  now(): number {
    return ++this.#now;
  }
}

type Call = {
  /** Undefined for the opening of a session, which is nobody else's concern. */
  input: RegisterInput | undefined;
  request: Request;
  calledAt: number;
  tries: number;
  /** An earlier try may have taken effect or may do so yet. */
  open: boolean;
};

/**
 * One client with one call at a time, to any manager. It tries again under the same number when a call
 * is refused or lost, and leaves it at an unknown outcome when that does not help.
 */
export class SimClient {
  readonly #id: number;
  readonly #ports: ClientPorts;
  readonly #options: ClientOptions;
  readonly #seen: number[] = [];
  #session: number | undefined;
  #seq = 0;
  #call: Call | undefined;
  /** Answers to earlier tries are not waited for any more. */
  #try = 0;
  #at: Served | undefined;
  #stopped = false;

  constructor(id: number, ports: ClientPorts, options: ClientOptions) {
    this.#id = id;
    this.#ports = ports;
    this.#options = options;
    this.#think();
  }

  /** What is under way stays unknown. */
  stop(): void {
    this.#stopped = true;
    this.#try++;
    const call = this.#call;
    if (call !== undefined) this.#giveUp({ ...call, open: true });
  }

  #think(): void {
    const { clock, random } = this.#ports;
    clock.later(random.next() * this.#options.thinkMaxMs, () => {
      if (!this.#stopped) this.#begin();
    });
  }

  #begin(): void {
    const { random, history } = this.#ports;
    const key = random.between(0, this.#options.keys - 1);
    const [input, request] = random.chance(0.4) ? this.#read(key) : this.#write(key);
    this.#call = { input, request, calledAt: history.now(), tries: 0, open: false };
    this.#attempt(this.#call);
  }

  #read(key: number): [RegisterInput, Request] {
    return [
      { kind: 'get', key },
      { kind: 'read', key },
    ];
  }

  #write(key: number): [RegisterInput | undefined, Request] {
    const { random, commands } = this.#ports;
    const session = this.#session;
    if (session === undefined) {
      return [undefined, { kind: 'write', command: 0, data: OPEN_SESSION }];
    }
    const kind = random.chance(0.5) ? 'put' : 'cas';
    const expected = this.#seen[key] ?? 0;
    const command = commands.add({ session, seq: ++this.#seq, kind, key, expected });
    const { id } = command;
    const data = encodeCommand(command, random.between(0, 70));
    const request: Request = { kind: 'write', command: id, data };
    return [
      kind === 'put' ? { kind, key, value: id } : { kind, key, expected, value: id },
      request,
    ];
  }

  #attempt(call: Call): void {
    const { clock, random, managers } = this.#ports;
    const no = ++this.#try;
    call.tries++;
    if (this.#at === undefined || random.chance(0.2)) this.#at = random.pick(managers());
    const at = this.#at;
    if (!at.isUp) {
      this.#failed(call);
      return;
    }
    clock.later(this.#options.timeoutMs, () => {
      if (this.#try !== no) return;
      call.open = true;
      this.#failed(call);
    });
    at.request(call.request, (answer) => {
      if (this.#try === no) this.#answered(call, answer);
    });
  }

  #answered(call: Call, answer: Answer): void {
    if (answer.kind === 'ok') {
      this.#finish(call, answer.output);
      return;
    }
    if (answer.kind === 'no-session') {
      this.#session = undefined;
      this.#giveUp({ ...call, open: true });
      this.#try++;
      this.#think();
      return;
    }
    if (answer.kind === 'unknown') call.open = true;
    this.#failed(call);
  }

  #failed(call: Call): void {
    const { clock, random } = this.#ports;
    const no = ++this.#try;
    this.#at = undefined;
    // At times even what may have happened is not tried again: some callers are like that.
    if (call.tries >= this.#options.tries || (call.open && random.chance(0.3))) {
      this.#giveUp(call);
      this.#think();
      return;
    }
    // Never at once: this may run inside the manager that answers.
    clock.later(random.between(1, 60), () => {
      if (this.#try === no && !this.#stopped) this.#attempt(call);
    });
  }

  #giveUp({ input, calledAt, open }: Call): void {
    this.#call = undefined;
    // Nothing happened, or nothing that anyone could see.
    if (!open || input === undefined || input.kind === 'get') return;
    this.#ports.history.operations.push({
      client: this.#id,
      input,
      output: undefined,
      call: calledAt,
      return: Number.POSITIVE_INFINITY,
    });
  }

  #finish({ input, calledAt }: Call, output: number): void {
    this.#try++;
    this.#call = undefined;
    this.#think();
    if (input === undefined) {
      this.#session = output;
      this.#seq = 0;
      return;
    }
    const { history } = this.#ports;
    const end = history.now();
    history.operations.push({ client: this.#id, input, output, call: calledAt, return: end });
    if (input.kind === 'get') this.#seen[input.key] = output;
    else if (input.kind === 'put' || output === 1) this.#seen[input.key] = input.value;
  }
}
