/**
 * Goal: the checker says what the definition says. Method: histories known to be good or bad, the
 * definition tried out on small random ones, and large ones made around points where each took effect.
 */
import test from 'ava';
import fc from 'fast-check';
import { SeededRandom } from '../random.ts';
import { isLinearizableByDefinition } from './brute-force.ts';
import { checkHistory } from './checker.ts';
import {
  describeOperation,
  REGISTERS,
  type RegisterInput,
  type RegisterOperation,
  tightened,
  UNIQUE_REGISTERS,
} from './register.ts';

const NEVER = Number.POSITIVE_INFINITY;

function put(call: number, end: number, value: number, key = 0): RegisterOperation {
  const output = end === NEVER ? undefined : 0;
  return { client: 0, input: { kind: 'put', key, value }, output, call, return: end };
}
function get(call: number, end: number, output: number, key = 0): RegisterOperation {
  return { client: 1, input: { kind: 'get', key }, output, call, return: end };
}
function cas(
  call: number,
  end: number,
  expected: number,
  value: number,
  output: number | undefined,
): RegisterOperation {
  return { client: 2, input: { kind: 'cas', key: 0, expected, value }, output, call, return: end };
}
function verdict(history: readonly RegisterOperation[]): string {
  return checkHistory(history, REGISTERS).kind;
}

function tight(history: readonly RegisterOperation[]): string {
  return checkHistory(tightened(history), UNIQUE_REGISTERS).kind;
}

const GOOD: Readonly<Record<string, readonly RegisterOperation[]>> = {
  'nothing happened': [],
  'a read beside a write sees either': [put(1, 10, 7), get(2, 3, 0), get(4, 5, 7)],
  'reads in overlapping writes agree on an order': [
    put(1, 10, 1),
    put(1, 10, 2),
    get(2, 3, 2),
    get(4, 5, 1),
  ],
  'an unknown write shows late': [put(1, NEVER, 5), get(2, 3, 0), get(10, 11, 5)],
  'an unknown write never shows': [put(1, NEVER, 5), put(2, 3, 6), get(4, 5, 6), get(8, 9, 6)],
  'an unknown write shows after a later one': [
    put(1, NEVER, 5),
    put(2, 3, 6),
    get(4, 5, 6),
    get(8, 9, 5),
  ],
  'a swap that lost': [put(1, 2, 1), cas(3, 4, 2, 9, 0), get(5, 6, 1)],
  'two swaps beside each other, one wins': [cas(1, 5, 0, 1, 1), cas(2, 6, 0, 2, 0), get(7, 8, 1)],
  'an unknown swap explains what was read': [cas(1, NEVER, 0, 3, undefined), get(2, 3, 3)],
  'keys are apart': [put(1, 2, 1, 0), put(3, 4, 2, 1), get(5, 6, 1, 0), get(5, 6, 2, 1)],
  'a write of what is there comes later, and brings it back': [
    put(1, 2, 0),
    put(1, 2, 1),
    cas(3, 4, 0, 5, 1),
  ],
  'what touches is concurrent': [put(1, 2, 7), get(2, 3, 0)],
};

const BAD: Readonly<Record<string, readonly RegisterOperation[]>> = {
  'a stale read': [put(1, 2, 1), get(3, 4, 0)],
  'a lost write': [put(1, 2, 1), put(3, 4, 2), get(5, 6, 1)],
  'a value from nowhere': [put(1, 2, 1), get(3, 4, 9)],
  'a read from the future': [get(1, 2, 5), put(3, 4, 5)],
  'a read that goes back': [put(1, 20, 1), get(2, 3, 1), get(4, 5, 0)],
  'two readers see two orders': [
    put(1, 10, 1),
    put(1, 10, 2),
    get(11, 12, 1),
    get(13, 14, 2),
    get(15, 16, 1),
  ],
  'two swaps from the same value, both won': [cas(1, 5, 0, 1, 1), cas(2, 6, 0, 2, 1)],
  'a swap that won from a value long gone': [put(1, 2, 1), put(3, 4, 2), cas(5, 6, 1, 9, 1)],
  'a swap that lost against the value it expected': [put(1, 2, 1), cas(3, 4, 1, 9, 0)],
  'one write applied twice': [
    put(1, 9, 1),
    get(2, 3, 1),
    put(4, 5, 2),
    get(6, 7, 2),
    get(10, 11, 1),
  ],
  'an unknown write that shows, goes and comes back': [
    put(1, NEVER, 5),
    get(2, 3, 5),
    put(4, 5, 6),
    get(6, 7, 6),
    get(8, 9, 5),
  ],
  'an unknown write that shows before it was made': [get(1, 2, 5), put(3, NEVER, 5)],
  'bad in one key of two': [put(1, 2, 1, 0), get(3, 4, 1, 0), put(1, 2, 1, 1), get(3, 4, 0, 1)],
};

for (const [name, history] of Object.entries(GOOD)) {
  test(`linearizable: ${name}`, (t) => {
    t.is(verdict(history), 'linearizable');
    t.true(isLinearizableByDefinition(history, REGISTERS));
  });
}
for (const [name, history] of Object.entries(BAD)) {
  test(`not linearizable: ${name}`, (t) => {
    t.is(verdict(history), 'illegal');
    t.false(isLinearizableByDefinition(history, REGISTERS));
  });
}

const value = fc.integer({ min: 0, max: 3 });
const operation: fc.Arbitrary<RegisterOperation> = fc
  .record({
    input: fc.oneof(
      fc.record({ kind: fc.constant('put' as const), key: fc.nat(1), value }),
      fc.record({ kind: fc.constant('get' as const), key: fc.nat(1) }),
      fc.record({ kind: fc.constant('cas' as const), key: fc.nat(1), expected: value, value }),
    ) as fc.Arbitrary<RegisterInput>,
    output: value,
    call: fc.nat(12),
    takes: fc.nat(8),
    unknown: fc.boolean(),
  })
  .map(({ input, output, call, takes, unknown }) => {
    // A read that never came back says nothing; a write may.
    const open = unknown && input.kind !== 'get';
    const answer = input.kind === 'cas' ? output & 1 : output;
    return {
      client: 0,
      input,
      output: open ? undefined : answer,
      call,
      return: open ? NEVER : call + takes,
    };
  });

test('the search and the definition agree on small histories', (t) => {
  const seen = { linearizable: 0, illegal: 0 };
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 6 }), (history) => {
      const expected = isLinearizableByDefinition(history, REGISTERS) ? 'linearizable' : 'illegal';
      seen[expected]++;
      return verdict(history) === expected;
    }),
    { numRuns: 6_000, seed: 11 },
  );
  // A comparison that only ever saw one side would show little.
  t.true(seen.linearizable > 200 && seen.illegal > 200, JSON.stringify(seen));
});

test('tightening a history changes no answer', (t) => {
  const seen = { linearizable: 0, illegal: 0 };
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 6 }), (drawn) => {
      // Values written once only: by their place. Some reads and swaps still speak of them.
      const history = drawn.map((one, i): RegisterOperation => {
        if (one.input.kind === 'get') return one;
        return { ...one, input: { ...one.input, value: i + 1 } };
      });
      const expected = isLinearizableByDefinition(history, REGISTERS) ? 'linearizable' : 'illegal';
      seen[expected]++;
      return tight(history) === expected;
    }),
    { numRuns: 5_000, seed: 12 },
  );
  t.true(seen.linearizable > 200 && seen.illegal > 200, JSON.stringify(seen));
});

test('a write of unknown outcome that a lost swap names stays told from others', (t) => {
  // The first swap lost because of the write, the second cannot have.
  t.is(tight([put(1, NEVER, 3), cas(2, 3, 0, 2, 0), cas(4, 5, 3, 1, 0)]), 'illegal');
  t.is(tight([put(1, NEVER, 3), cas(2, 3, 0, 2, 0), cas(4, 5, 3, 1, 1)]), 'linearizable');
});

test('a hundred writes of unknown outcome are no matter when tightened', (t) => {
  const unknown = Array.from({ length: 100 }, (_, i) => put(i, NEVER, 1_000 + i));
  const read = Array.from({ length: 40 }, (_, i) => get(200 + 10 * i, 205 + 10 * i, 1_000 + 2 * i));
  const lost = [cas(800, 801, 1_078, 7, 0), get(802, 803, 1_099)];
  t.is(tight([...unknown, ...read, ...lost]), 'linearizable');
  const wrong = [...unknown, ...read, ...lost, get(804, 805, 1_078)];
  t.is(tight(wrong), 'illegal');
});

/** Each call takes effect at a point between its ends, so that an order exists. */
function goodHistory(seed: number, count: number): RegisterOperation[] {
  const random = new SeededRandom(seed);
  const state = [0, 0, 0];
  const points = Array.from({ length: count }, (_, i) => ({
    at: 10 * i,
    call: 10 * i - random.between(0, 60),
    end: 10 * i + random.between(0, 60),
    unknown: random.chance(0.1),
  }));
  return points.map(({ call, end, unknown }, client) => {
    const key = random.between(0, 2);
    const before = state[key] ?? 0;
    const kind = random.pick(['put', 'get', 'cas'] as const);
    const ends = unknown && kind !== 'get' ? NEVER : end;
    if (kind === 'get') return { ...get(call, end, before, key), client };
    if (kind === 'put') {
      state[key] = client + 1;
      return { ...put(call, ends, client + 1, key), client };
    }
    const expected = random.chance(0.6) ? before : random.between(0, client);
    if (expected === before) state[key] = client + 1;
    const input = { kind, key, expected, value: client + 1 };
    const output = ends === NEVER ? undefined : Number(expected === before);
    return { client, input, output, call, return: ends };
  });
}

test('long histories that have an order are found to have one', (t) => {
  for (let seed = 1; seed <= 30; seed++) t.is(verdict(goodHistory(seed, 400)), 'linearizable');
});

test('one wrong answer in a long history is found', (t) => {
  let spoilt = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const history = goodHistory(seed, 300);
    const at = history.findIndex(({ input }, i) => i > 150 && input.kind === 'get');
    const victim = history[at];
    if (victim === undefined) continue;
    spoilt++;
    history[at] = { ...victim, output: 1_000_000 };
    const found = checkHistory(history, REGISTERS);
    t.is(found.kind, 'illegal');
    if (found.kind === 'illegal') t.true(found.stuck.length > 0);
  }
  t.true(spoilt > 20);
});

test('what takes too many steps is undecided, and not called good', (t) => {
  t.is(checkHistory(goodHistory(1, 400), REGISTERS, 10).kind, 'undecided');
});

test('an illegal key outweighs an undecided one', (t) => {
  const undecided = goodHistory(1, 400).filter(({ input }) => input.key === 0);
  const illegal = [put(1, 2, 1, 9), get(3, 4, 0, 9)];
  t.is(checkHistory([...undecided, ...illegal], REGISTERS, 10).kind, 'illegal');
});

test('an operation that returns before its call is refused', (t) => {
  t.throws(() => checkHistory([put(5, 4, 1)], REGISTERS), { message: /returns before its call/ });
});

test('operations are described in one line', (t) => {
  t.is(
    describeOperation(cas(3, NEVER, 1, 2, undefined)),
    'client 2, key 0, 3..?: cas 1 -> 2 = unknown',
  );
});
