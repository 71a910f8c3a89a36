import test from 'ava';
import { sameValue } from '../../../shared/model/equal.ts';

const equal: [unknown, unknown][] = [
  [1, 1],
  [Number.NaN, Number.NaN],
  [{ a: 1, b: undefined }, { a: 1 }],
  [{ a: { b: [1, { c: 2 }] } }, { a: { b: [1, { c: 2 }] } }],
  [new Uint8Array([1, 2]), Buffer.from([1, 2])],
  [{}, {}],
];
const different: [unknown, unknown][] = [
  [1, '1'],
  [null, {}],
  [undefined, null],
  [{ a: 1 }, { a: 1, b: 0 }],
  [
    { a: 1, b: undefined },
    { a: 1, c: 1 },
  ],
  [{ a: undefined, b: 1 }, { a: 1 }],
  [
    [1, 2],
    [2, 1],
  ],
  [[1], [1, undefined]],
  [[], {}],
  [new Uint8Array([1]), [1]],
  [new Uint8Array([1]), new Uint8Array([1, 2])],
  [{ constructor: 1 }, {}],
  [{}, { toString: 1 }],
  [{ a: 1 }, { b: 1 }],
];
for (const [left, right] of equal) {
  test(`${text(left)} says the same as ${text(right)}`, (t) => {
    t.true(sameValue(left, right));
    t.true(sameValue(right, left));
  });
}
for (const [left, right] of different) {
  test(`${text(left)} says something else than ${text(right)}`, (t) => {
    t.false(sameValue(left, right));
    t.false(sameValue(right, left));
  });
}

function text(value: unknown): string {
  return `${value instanceof Uint8Array ? 'bytes ' : ''}${JSON.stringify(value) ?? 'nothing'}${
    value instanceof Object ? Object.keys(value).join() : ''
  }`;
}
