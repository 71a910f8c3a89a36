/** Goal: the verdict on a history of calls. Method: a history that is good, and what is wrong with copies of it. */
import test from 'ava';
import type { Call } from './history.ts';
import { faultsOf, withLostWrite, withStaleRead } from './verdict.ts';

const NEVER = Number.POSITIVE_INFINITY;

function swap(at: number, expected: number, value: number, output: number | undefined): Call {
  const end = output === undefined ? NEVER : at + 1;
  const input = { kind: 'cas', key: 1, expected, value } as const;
  return { client: 1, host: 'h1', input, output, call: at, return: end };
}
function read(at: number, output: number): Call {
  const input = { kind: 'get', key: 1 } as const;
  const common = { client: 2, host: 'h2', input, output, call: at, return: at + 1 };
  return output === 0 ? common : { ...common, version: 100 + output };
}

const GOOD = [
  swap(0, 0, 1, 1),
  read(2, 1),
  swap(4, 1, 2, undefined),
  swap(6, 1, 3, 0),
  read(8, 2),
  swap(10, 2, 4, 1),
  read(12, 4),
];

test('a good history is found good', (t) => {
  t.deepEqual(faultsOf(GOOD), []);
});

test('a stale read is found', (t) => {
  const [found] = faultsOf(withStaleRead(GOOD) ?? []);
  t.regex(found ?? '', /^key 1 is not linearizable/);
});

test('a lost acknowledged swap is found', (t) => {
  const [found] = faultsOf(withLostWrite(GOOD) ?? []);
  t.regex(found ?? '', /^key 1 is not linearizable/);
});

test('a lost acknowledged create is found', (t) => {
  const bad = withLostWrite([swap(0, 0, 1, 1), read(2, 1)]) ?? [];
  t.is(bad.at(-1)?.output, 0);
  t.is(faultsOf(bad).length, 1);
});

test('a write that was refused, and happened, is found', (t) => {
  t.is(faultsOf(GOOD.filter(({ input }) => input.kind === 'get' || input.value !== 2)).length, 1);
});

test('a swap that lost against what it expected is found', (t) => {
  t.is(faultsOf([...GOOD, swap(14, 4, 5, 0)]).length, 1);
});

test('a version with two contents is found', (t) => {
  // Of outcomes unknown: an order exists, but one version cannot be of both.
  const calls = [swap(0, 0, 1, undefined), swap(0, 1, 2, undefined)];
  const reads = [read(2, 1), { ...read(4, 2), version: 101 }];
  t.deepEqual(faultsOf([...calls, ...reads]), ['key 1, version 101: seen with 1 and with 2']);
});

test('a history without acknowledged writes has nothing to lose', (t) => {
  t.is(withLostWrite([read(1, 0)]), undefined);
  t.is(withStaleRead([read(1, 0)]), undefined);
});
