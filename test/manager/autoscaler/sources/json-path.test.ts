import test from 'ava';
import fc from 'fast-check';
import {
  numberAt,
  type PathStep,
  parseJsonPath,
} from '../../../../manager/autoscaler/sources/json-path.ts';

const PATHS: readonly [string, PathStep[]][] = [
  ['', []],
  ['depth', ['depth']],
  ['queue.depth', ['queue', 'depth']],
  ['items[0].count', ['items', 0, 'count']],
  ['[1]', [1]],
  ['[1][-1].a', [1, -1, 'a']],
  ['queue["a.b"].c', ['queue', 'a.b', 'c']],
  ['["a[0]"]', ['a[0]']],
  ['["say \\"hi\\""]', ['say "hi"']],
  ['_total-5m', ['_total-5m']],
  ['größe.0', ['größe', '0']],
];
for (const [path, steps] of PATHS) {
  test(`path ${JSON.stringify(path)} has the steps ${JSON.stringify(steps)}`, (t) => {
    t.deepEqual(parseJsonPath(path), steps);
  });
}

const WRONG: readonly [string, RegExp][] = [
  ['.a', /expected a name at place 1, found "\."/],
  ['a.', /expected a name at place 3, found the end/],
  ['a..b', /expected a name at place 3, found "\."/],
  ['a[', /expected an index or a quoted name and "\]" at place 3, found the end/],
  ['a[x]', /at place 3, found "x"/],
  ['a[1', /at place 3/],
  ["a['b']", /at place 3/],
  ['a[1]b', /expected "\." or "\[" at place 5, found "b"/],
  ['a b', /expected "\." or "\[" at place 2, found " "/],
];
for (const [path, message] of WRONG) {
  test(`path ${JSON.stringify(path)} is refused with the place that is wrong`, (t) => {
    t.throws(() => parseJsonPath(path), { code: 'invalid-argument', message });
  });
}

const DOCUMENT = {
  depth: 7,
  text: ' 12.5 ',
  words: 'many',
  empty: '',
  none: null,
  items: [{ count: 1 }, { count: 2 }],
  'a.b': { c: 0 },
  list: [],
  yes: true,
};
const NUMBERS: readonly [string, number][] = [
  ['depth', 7],
  ['text', 12.5],
  ['items[0].count', 1],
  ['items[-1].count', 2],
  ['["a.b"].c', 0],
];
for (const [path, value] of NUMBERS) {
  test(`the number at ${path} is ${value}`, (t) => {
    t.is(numberAt(DOCUMENT, parseJsonPath(path)), value);
  });
}

const NO_NUMBERS: readonly [string, RegExp][] = [
  ['words', /^words is a string, and no number$/],
  ['empty', /^empty is a string, and no number$/],
  ['none', /^none is null, and no number$/],
  ['none.a', /^none is null without a$/],
  ['yes', /^yes is a boolean, and no number$/],
  ['items', /^items is an array of 2, and no number$/],
  ['items[2].count', /^items is an array of 2 without \[2\]$/],
  ['items[0].missing', /^items\[0\] is an object without missing$/],
  ['items.length', /^items is an array of 2 without length$/],
  ['list[-1]', /^list is an array of 0 without \[-1\]$/],
  ['[0]', /^the answer is an object without \[0\]$/],
  ['constructor.length', /^the answer is an object without constructor$/],
  ['depth.toFixed', /^depth is a number without toFixed$/],
  ['', /^the answer is an object, and no number$/],
];
for (const [path, message] of NO_NUMBERS) {
  test(`there is no number at ${JSON.stringify(path)}, and it is said why`, (t) => {
    t.throws(() => numberAt(DOCUMENT, parseJsonPath(path)), {
      code: 'failed-precondition',
      message,
    });
  });
}

test('an answer that is a number itself has the empty path', (t) => {
  t.is(numberAt(JSON.parse('42'), parseJsonPath('')), 42);
});

test('any path parses to steps or is refused by name, and steps that are written out parse back', (t) => {
  fc.assert(
    fc.property(fc.string(), (path) => {
      try {
        parseJsonPath(path);
      } catch (error) {
        t.is((error as { code?: string }).code, 'invalid-argument');
      }
    }),
  );
  const step = fc.oneof(fc.string(), fc.integer({ min: -999_999, max: 999_999 }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const path = steps.map((one) => `[${JSON.stringify(one)}]`).join('');
      t.deepEqual(
        parseJsonPath(path),
        steps.map((one) => (Object.is(one, -0) ? 0 : one)),
      );
    }),
  );
});
