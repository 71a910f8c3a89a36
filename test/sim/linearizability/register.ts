import type { Model, Operation } from './checker.ts';

/** Registers by key, each holding a number, 0 at first. */
export type RegisterInput =
  | Readonly<{ kind: 'put'; key: number; value: number }>
  /** Writes `value` if the register holds `expected`; the answer tells whether it did. */
  | Readonly<{ kind: 'cas'; key: number; expected: number; value: number }>
  | Readonly<{ kind: 'get'; key: number }>;
/** Of `get` the value, of `cas` 1 or 0, of `put` 0. */
export type RegisterOutput = number;
export type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

export const REGISTERS: Model<number, RegisterInput, RegisterOutput> = {
  initial: 0,
  partOf: ({ key }) => key,
  step(state, input, output) {
    switch (input.kind) {
      case 'put':
        return input.value;
      case 'get':
        return output === undefined || output === state ? state : undefined;
      case 'cas': {
        const swaps = state === input.expected;
        if (output !== undefined && output !== Number(swaps)) return undefined;
        return swaps ? input.value : state;
      }
    }
  },
  keyOf: (state) => state,
  isIdle: (input, output) => input.kind === 'get' || (input.kind === 'cas' && output === 0),
  classOf: (input) => JSON.stringify(input),
};

/** For histories in which no value is written twice, nor 0: no state comes back once it is left. */
export const UNIQUE_REGISTERS: typeof REGISTERS = {
  ...REGISTERS,
  seenBy(input, output) {
    if (input.kind === 'get') return output;
    return input.kind === 'cas' && output === 1 ? input.expected : undefined;
  },
};

/** Never read by anyone. */
const UNSEEN = -1;

/**
 * The same question with fewer answers open, for UNIQUE_REGISTERS. A write
 * of unknown outcome whose value was seen took effect before whoever saw it returned, and a swap so
 * seen had won. All values that nobody saw are alike, but for those that a swap names: it lost because the
 * register held another, or may have won.
 */
export function tightened(history: readonly RegisterOperation[]): RegisterOperation[] {
  let operations = [...history];
  // Whoever turns out to have won a swap has seen a value, too: until nothing more turns up.
  for (let found = true; found; ) {
    const seenUntil = ends(operations);
    found = false;
    operations = operations.map((operation) => {
      const { input, call, return: end } = operation;
      if (end < Number.POSITIVE_INFINITY || input.kind === 'get') return operation;
      const seen = seenUntil.get(`${input.key} ${input.value}`);
      // Seen before it was called: no order can exist, and the search is to say so.
      if (seen === undefined || seen < call) return operation;
      found = true;
      return { ...operation, output: input.kind === 'cas' ? 1 : 0, return: seen };
    });
  }
  const named = new Set(ends(operations).keys());
  for (const { input } of operations) {
    if (input.kind === 'cas') named.add(`${input.key} ${input.expected}`);
  }
  return operations.map((operation) => {
    const { input, return: end } = operation;
    const isOpen = end === Number.POSITIVE_INFINITY && input.kind !== 'get';
    if (!isOpen || named.has(`${input.key} ${input.value}`)) return operation;
    return { ...operation, input: { ...input, value: UNSEEN } };
  });
}

/** By key and value: when the first that saw it had returned. */
function ends(history: readonly RegisterOperation[]): Map<string, number> {
  const seenUntil = new Map<string, number>();
  for (const { input, output, return: end } of history) {
    const seen = UNIQUE_REGISTERS.seenBy?.(input, output);
    if (seen === undefined) continue;
    const name = `${input.key} ${seen}`;
    seenUntil.set(name, Math.min(end, seenUntil.get(name) ?? Number.POSITIVE_INFINITY));
  }
  return seenUntil;
}

export function describeOperation({ client, input, output, call, return: end }: RegisterOperation) {
  const what =
    input.kind === 'put'
      ? `put ${input.value}`
      : input.kind === 'get'
        ? 'get'
        : `cas ${input.expected} -> ${input.value}`;
  const when = `${call}..${end === Number.POSITIVE_INFINITY ? '?' : end}`;
  return `client ${client}, key ${input.key}, ${when}: ${what} = ${output ?? 'unknown'}`;
}
