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
  /** Whether a call that had this output leaves every state in which it can have had it as it is. */
  isIdle: (input: Input, output: Output | undefined) => boolean;
  /**
   * Calls of unknown outcome that are equal in this do the same. Then only the one that was called
   * first needs to be tried: it may stand wherever the others may.
   */
  classOf?: (input: Input) => number | string;
  /**
   * The key of the only state in which the call can have had this output, if there is one such. Given
   * only where no state comes back once it is left: then all who saw it come before it is left.
   */
  seenBy?: (input: Input, output: Output | undefined) => number | string | undefined;
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
/** A call in the order being built. `sure`: no other choice is worth trying in its place. */
type Taken<State> = Readonly<{ event: number; before: State; sure: boolean }>;
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
  /** By operation: the one of its class that must be taken before it, or -1. */
  readonly #firstOfClass: Int32Array;
  /** By operation: the only state that it can have seen. */
  readonly #seen: (number | string | undefined)[];
  /** How many calls that are not taken must see this state. */
  readonly #viewers = new Map<number | string, number>();
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
    this.#firstOfClass = this.#chainClasses();
    this.#seen = operations.map(({ input, output, return: end }) =>
      end < Number.POSITIVE_INFINITY ? this.#model.seenBy?.(input, output) : undefined,
    );
    for (const key of this.#seen) {
      if (key !== undefined) this.#viewers.set(key, (this.#viewers.get(key) ?? 0) + 1);
    }
  }

  #chainClasses(): Int32Array {
    const chain = new Int32Array(this.#operations.length).fill(-1);
    const { classOf } = this.#model;
    if (classOf === undefined) return chain;
    const last = new Map<number | string, number>();
    const byCall = [...this.#operations.entries()].sort(([, a], [, b]) => a.call - b.call);
    for (const [operation, one] of byCall) {
      if (one.return < Number.POSITIVE_INFINITY) continue;
      const name = classOf(one.input);
      chain[operation] = last.get(name) ?? -1;
      last.set(name, operation);
    }
    return chain;
  }

  run(maxSteps: number): 'linearizable' | 'illegal' | 'undecided' {
    const path: Taken<State>[] = [];
    let state = this.#model.initial;
    let event = this.#next[HEAD] ?? HEAD;
    // Calls whose outcome is unknown may be left over: they need not ever have happened.
    for (let steps = 0; this.#open > 0; steps++) {
      if (steps >= maxSteps) return 'undecided';
      if (event === this.#next[HEAD]) {
        const idle = this.#idle(state);
        if (idle !== HEAD) {
          this.#flip(this.#operationOf[idle] ?? 0);
          this.#take(path, { event: idle, before: state, sure: true });
          event = this.#next[HEAD] ?? HEAD;
          continue;
        }
      }
      const operation = this.#operationOf[event] ?? -1;
      if (operation >= 0) {
        const after = this.#after(operation, state, path.at(-1));
        if (after !== undefined && this.#isNew(operation, after)) {
          this.#take(path, { event, before: state, sure: false });
          state = after;
          event = this.#next[HEAD] ?? HEAD;
        } else event = this.#next[event] ?? HEAD;
        continue;
      }
      // The return of a call that should have been taken by now: one of the choices was wrong.
      if (path.length > this.longest.length) this.#keepLongest(path);
      const wrong = this.#backToChoice(path);
      if (wrong === undefined) return 'illegal';
      state = wrong.before;
      event = this.#next[wrong.event] ?? HEAD;
    }
    return 'linearizable';
  }

  /**
   * A call that may come next and leaves any state as it is: taking it at once is never wrong, as
   * whatever follows it later could as well follow it now. One that only leaves this state as it is, a write of
   * what is there, may be needed later, to bring it back.
   */
  #idle(state: State): number {
    let event = this.#next[HEAD] ?? HEAD;
    for (;;) {
      const operation = this.#operationOf[event] ?? -1;
      if (operation < 0) return HEAD;
      if ((this.#returnOf[event] ?? 0) !== 0) {
        const { input, output } = this.#operations[operation] as Operation<Input, Output>;
        const mayCome = this.#model.step(state, input, output) !== undefined;
        if (mayCome && this.#model.isIdle(input, output)) return event;
      }
      event = this.#next[event] ?? HEAD;
    }
  }

  /** The state after a call that may come next; undefined when it cannot, or need not be tried. */
  #after(operation: number, state: State, last: Taken<State> | undefined): State | undefined {
    const first = this.#firstOfClass[operation] ?? -1;
    if (first >= 0 && !this.#isTaken(first)) return undefined;
    const { input, output } = this.#operations[operation] as Operation<Input, Output>;
    const after = this.#model.step(state, input, output);
    if (after === undefined || this.#viewers.size === 0) return after;
    const key = this.#model.keyOf(state);
    if (this.#model.keyOf(after) === key) return after;
    // Only for calls that leave the state alone was it worth going where nobody had to go.
    const isDetour = last !== undefined && (this.#returnOf[last.event] ?? 0) === 0;
    if (isDetour && !this.#viewers.has(key)) return undefined;
    const isOpen = this.#operations[operation]?.return === Number.POSITIVE_INFINITY;
    if (isOpen && !this.#viewers.has(this.#model.keyOf(after)) && this.#idle(after) === HEAD) {
      return undefined;
    }
    const others = (this.#viewers.get(key) ?? 0) - (this.#seen[operation] === key ? 1 : 0);
    return others > 0 ? undefined : after; // they would never see that state again
  }

  #take(path: Taken<State>[], taken: Taken<State>): void {
    path.push(taken);
    this.#lift(taken.event);
    this.#countViewer(taken.event, -1);
  }

  #backToChoice(path: Taken<State>[]): Taken<State> | undefined {
    for (;;) {
      const last = path.pop();
      if (last === undefined) return undefined;
      this.#flip(this.#operationOf[last.event] ?? 0);
      this.#unlift(last.event);
      this.#countViewer(last.event, 1);
      if (!last.sure) return last;
    }
  }

  #countViewer(event: number, change: number): void {
    const key = this.#seen[this.#operationOf[event] ?? 0];
    if (key !== undefined) this.#viewers.set(key, (this.#viewers.get(key) ?? 0) + change);
  }

  stuck(): Operation<Input, Output>[] {
    const done = new Set(this.longest);
    const rest = this.#operations.filter((operation) => !done.has(operation));
    const firstReturn = Math.min(...rest.map((operation) => operation.return));
    return rest.filter(({ call }) => call <= firstReturn);
  }

  #keepLongest(path: readonly Taken<State>[]): void {
    this.longest = path.map(
      ({ event }) => this.#operations[this.#operationOf[event] ?? 0] as Operation<Input, Output>,
    );
  }

  #isTaken(operation: number): boolean {
    return ((this.#taken[operation >>> 5] ?? 0) & (1 << (operation & (WORD_BITS - 1)))) !== 0;
  }

  /** Notes the operation as taken; false when the same set of them has led to this state before. */
  #isNew(operation: number, after: State): boolean {
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
