/**
 * Whether a concurrent history could have been one at a time: the search of Wing and Gong (1993) with
 * Lowe's memory of configurations tried before (2017), as Porcupine does it. Exponential at worst, so
 * the work is bounded, and what was not decided within the bound is said to be undecided.
 */

/** One call as its client saw it. Times come from one order of all events of the run. */
export type Operation<Input, Output> = Readonly<{
  /** Who called; for reports only. */
  client: number;
  input: Input;
  /** Undefined: the answer never came. */
  output: Output | undefined;
  call: number;
  /** Infinity when the outcome is unknown: it may take effect at any later time, or never. */
  return: number;
}>;

/** What the object does when calls come one at a time. */
export type Model<State, Input, Output> = Readonly<{
  initial: State;
  /** Calls of different parts never meet: each part is checked alone. */
  partOf: (input: Input) => number | string;
  /** The next state, or undefined when that output cannot come of that input in that state. */
  step: (state: State, input: Input, output: Output | undefined) => State | undefined;
  /** Equal exactly for equal states. */
  keyOf: (state: State) => number | string;
}>;

export type Verdict<Input, Output> =
  | Readonly<{ kind: 'linearizable' }>
  /** `part` has no order; `longest` is the best that was found, `stuck` what could not follow it. */
  | Readonly<{
      kind: 'illegal';
      part: number | string;
      longest: readonly Operation<Input, Output>[];
      stuck: readonly Operation<Input, Output>[];
    }>
  | Readonly<{ kind: 'undecided'; part: number | string }>;

/** Steps of the search for each part: about a tenth of a second. */
const MAX_STEPS = 500_000;

/** Checks every part; `illegal` of one part outweighs `undecided` of another. */
export function checkHistory<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
  maxSteps: number = MAX_STEPS,
): Verdict<Input, Output> {
  const parts = new Map<number | string, Operation<Input, Output>[]>();
  for (const operation of history) {
    const part = model.partOf(operation.input);
    const list = parts.get(part);
    if (list === undefined) parts.set(part, [operation]);
    else list.push(operation);
  }
  let undecided: number | string | undefined;
  for (const [part, operations] of parts) {
    const search = new Search(operations, model);
    switch (search.run(maxSteps)) {
      case 'linearizable':
        break;
      case 'undecided':
        undecided ??= part;
        break;
      case 'illegal':
        return { kind: 'illegal', part, longest: search.longest, stuck: search.stuck() };
    }
  }
  return undecided === undefined
    ? { kind: 'linearizable' }
    : { kind: 'undecided', part: undecided };
}

const HEAD = 0;
const WORD_BITS = 32;

/**
 * Events lie in a doubly linked list in their order: calls, and returns of calls whose outcome is
 * known. Whatever stands before the first return may come next; a call that is taken leaves the list
 * together with its return, and is put back when it led nowhere.
 */
class Search<State, Input, Output> {
  longest: Operation<Input, Output>[] = [];
  readonly #model: Model<State, Input, Output>;
  readonly #operations: readonly Operation<Input, Output>[];
  /** By event, 0 is the head: the operation, and for calls the event of the return (0: none). */
  readonly #operationOf: Int32Array;
  readonly #returnOf: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #taken: Uint32Array;
  #takenHash = 0;
  /** Returns still in the list. */
  #open = 0;
  /** Sets of taken operations, with the state they led to, by hash. */
  readonly #tried = new Map<number, { taken: Uint32Array; key: number | string }[]>();

  constructor(operations: readonly Operation<Input, Output>[], model: Model<State, Input, Output>) {
    this.#operations = operations;
    this.#model = model;
    const events: { at: number; operation: number; isReturn: boolean }[] = [];
    for (const [operation, { call, return: end }] of operations.entries()) {
      if (!(call <= end)) throw new RangeError(`operation ${operation} returns before its call`);
      events.push({ at: call, operation, isReturn: false });
      if (end < Number.POSITIVE_INFINITY) events.push({ at: end, operation, isReturn: true });
    }
    // At one instant calls go first: those that touch are taken as concurrent.
    events.sort((a, b) => a.at - b.at || Number(a.isReturn) - Number(b.isReturn));
    const size = events.length + 1;
    this.#operationOf = new Int32Array(size);
    this.#returnOf = new Int32Array(size);
    this.#next = new Int32Array(size);
    this.#previous = new Int32Array(size);
    this.#taken = new Uint32Array(Math.ceil(operations.length / WORD_BITS));
    const callOf = new Int32Array(operations.length);
    for (const [i, { operation, isReturn }] of events.entries()) {
      const event = i + 1;
      this.#operationOf[event] = isReturn ? -1 : operation;
      if (isReturn) {
        this.#returnOf[callOf[operation] ?? 0] = event;
        this.#open++;
      } else callOf[operation] = event;
      this.#previous[event] = event - 1;
      this.#next[event - 1] = event;
    }
    this.#next[size - 1] = HEAD;
  }

  run(maxSteps: number): 'linearizable' | 'illegal' | 'undecided' {
    const path: { event: number; before: State }[] = [];
    let state = this.#model.initial;
    let event = this.#next[HEAD] ?? HEAD;
    // Calls whose outcome is unknown may be left over: they need not ever have happened.
    for (let steps = 0; this.#open > 0; steps++) {
      if (steps >= maxSteps) return 'undecided';
      const operation = this.#operationOf[event] ?? -1;
      if (operation >= 0) {
        const { input, output } = this.#operations[operation] as Operation<Input, Output>;
        const after = this.#model.step(state, input, output);
        if (after !== undefined && this.#take(operation, after)) {
          path.push({ event, before: state });
          state = after;
          this.#lift(event);
          event = this.#next[HEAD] ?? HEAD;
        } else event = this.#next[event] ?? HEAD;
        continue;
      }
      // The return of a call that should have been taken by now: one of the choices was wrong.
      if (path.length > this.longest.length) this.#keepLongest(path);
      const last = path.pop();
      if (last === undefined) return 'illegal';
      state = last.before;
      this.#giveBack(this.#operationOf[last.event] ?? 0);
      this.#unlift(last.event);
      event = this.#next[last.event] ?? HEAD;
    }
    return 'linearizable';
  }

  stuck(): Operation<Input, Output>[] {
    const done = new Set(this.longest);
    const rest = this.#operations.filter((operation) => !done.has(operation));
    const firstReturn = Math.min(...rest.map((operation) => operation.return));
    return rest.filter(({ call }) => call <= firstReturn);
  }

  #keepLongest(path: readonly { event: number }[]): void {
    this.longest = path.map(
      ({ event }) => this.#operations[this.#operationOf[event] ?? 0] as Operation<Input, Output>,
    );
  }

  /** False when this set of operations has led to this state before. */
  #take(operation: number, after: State): boolean {
    this.#flip(operation);
    const key = this.#model.keyOf(after);
    const known = this.#tried.get(this.#takenHash);
    if (known === undefined) {
      this.#tried.set(this.#takenHash, [{ taken: this.#taken.slice(), key }]);
      return true;
    }
    for (const one of known) {
      if (one.key === key && equal(one.taken, this.#taken)) {
        this.#flip(operation);
        return false;
      }
    }
    known.push({ taken: this.#taken.slice(), key });
    return true;
  }

  #giveBack(operation: number): void {
    this.#flip(operation);
  }

  #flip(operation: number): void {
    const word = operation >>> 5;
    this.#taken[word] = (this.#taken[word] ?? 0) ^ (1 << (operation & (WORD_BITS - 1)));
    this.#takenHash ^= scrambled(operation); // order does not matter, and twice is not at all
  }

  #lift(call: number): void {
    this.#unlink(call);
    const end = this.#returnOf[call] ?? 0;
    if (end === 0) return;
    this.#unlink(end);
    this.#open--;
  }

  /** In the opposite order, so that each finds the neighbours it was taken from. */
  #unlift(call: number): void {
    const end = this.#returnOf[call] ?? 0;
    if (end !== 0) {
      this.#relink(end);
      this.#open++;
    }
    this.#relink(call);
  }

  #unlink(event: number): void {
    const before = this.#previous[event] ?? HEAD;
    const after = this.#next[event] ?? HEAD;
    this.#next[before] = after;
    if (after !== HEAD) this.#previous[after] = before;
  }

  #relink(event: number): void {
    const after = this.#next[event] ?? HEAD;
    this.#next[this.#previous[event] ?? HEAD] = event;
    if (after !== HEAD) this.#previous[after] = event;
  }
}

function equal(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Spreads small numbers over 32 bits (the finish of MurmurHash3). */
function scrambled(value: number): number {
  let mixed = (value + 0x9e3779b9) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
