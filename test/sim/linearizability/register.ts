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
};

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
