import { checkHistory } from '../sim/linearizability/checker.ts';
import { describeOperation, tightened, UNIQUE_REGISTERS } from '../sim/linearizability/register.ts';
import type { Call } from './history.ts';

/** What is wrong with a history, in words; empty when nothing is. */
export function faultsOf(calls: readonly Call[]): string[] {
  const found = versionFaults(calls);
  for (const [key, ofKey] of Map.groupBy(calls, ({ input }) => input.key)) {
    const verdict = checkHistory(tightened(ofKey), UNIQUE_REGISTERS, STEPS_OF_A_KEY);
    if (verdict.kind === 'linearizable') continue;
    if (verdict.kind === 'undecided') {
      found.push(`key ${key}: ${ofKey.length} calls were too many to decide`);
      continue;
    }
    const shown = [
      ...verdict.longest.slice(-CALLS_SHOWN).map((one) => `  then ${describeOperation(one)}`),
      ...verdict.stuck
        .slice(0, CALLS_SHOWN)
        .map((one) => `  cannot follow: ${describeOperation(one)}`),
    ];
    found.push([`key ${key} is not linearizable:`, ...shown].join('\n'));
  }
  return found;
}

const STEPS_OF_A_KEY = 5_000_000;
const CALLS_SHOWN = 8;

/** A version names one content: seen with two, one of them was lost or made up. */
function versionFaults(calls: readonly Call[]): string[] {
  const contents = new Map<string, number>();
  const found: string[] = [];
  for (const { input, output, version } of calls) {
    if (input.kind !== 'get' || version === undefined || output === undefined) continue;
    const name = `key ${input.key}, version ${version}`;
    const known = contents.get(name) ?? output;
    contents.set(name, known);
    if (known !== output) found.push(`${name}: seen with ${known} and with ${output}`);
  }
  return found;
}

/** A good history made bad: a read late in the run gives what was overwritten long before it. */
export function withStaleRead(calls: readonly Call[]): Call[] | undefined {
  for (const [at, read] of [...calls.entries()].toReversed()) {
    if (read.input.kind !== 'get' || read.output === undefined) continue;
    const { key } = read.input;
    const overwritten = calls.find(
      ({ input, output, return: end }) =>
        input.kind === 'cas' && input.key === key && output === 1 && end < read.call,
    );
    if (overwritten?.input.kind !== 'cas') continue;
    const { version: _, ...stale } = { ...read, output: overwritten.input.expected };
    return calls.with(at, stale);
  }
  return undefined;
}

/** A good history made bad: from some time on nobody sees a write that was acknowledged. */
export function withLostWrite(calls: readonly Call[]): Call[] | undefined {
  const [, lost] =
    [...calls.entries()].toReversed().find(([, { input, output, return: end }]) => {
      if (input.kind !== 'cas' || output !== 1) return false;
      const { key, value } = input;
      return calls.some(
        (read) =>
          read.input.kind === 'get' &&
          read.input.key === key &&
          read.output === value &&
          read.call > end,
      );
    }) ?? [];
  if (lost?.input.kind !== 'cas') return undefined;
  const { key, value, expected } = lost.input;
  return calls.map((read) => {
    if (read.input.kind !== 'get' || read.input.key !== key || read.output !== value) return read;
    const { version: _, ...without } = { ...read, output: expected };
    return without;
  });
}
