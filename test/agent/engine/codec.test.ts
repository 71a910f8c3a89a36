import test from 'ava';
import {
  base64,
  type Codec,
  flag,
  int64,
  list,
  maybe,
  sparse,
  struct,
  text,
  textMap,
  texts,
  uint32,
  words,
} from '../../../agent/engine/codec.ts';
import { isShoalError } from '../../../shared/errors.ts';

const inner = struct<{ count: number; name: string }>({
  count: ['Count', sparse(int64)],
  name: ['Name', text],
});
const outer = struct<{ items: { count: number; name: string }[]; inner: object | undefined }>(
  { items: ['Items', list(inner)], inner: ['Inner', maybe(inner) as Codec<object | undefined>] },
  ['Refused'],
);

test('decode() takes null and missing for empty, as Go clients leave fields out or null them', (t) => {
  t.is(text.decode(null, 'a'), '');
  t.is(int64.decode(undefined, 'a'), 0);
  t.is(flag.decode(null, 'a'), false);
  t.deepEqual(texts.decode(null, 'a'), []);
  t.deepEqual(textMap.decode(null, 'a'), {});
  t.is(maybe(text).decode(null, 'a'), undefined);
  t.deepEqual(outer.decode(null, ''), { items: [], inner: undefined });
});

const WRONG_TYPES: [codec: Codec<unknown>, json: unknown, words: string][] = [
  [text as Codec<unknown>, 5, 'invalid JSON: X must be a string, not a number'],
  [flag as Codec<unknown>, 'true', 'invalid JSON: X must be true or false, not a string'],
  [int64 as Codec<unknown>, '5', 'invalid JSON: X must be a whole number, not a string'],
  [int64 as Codec<unknown>, 1.5, 'invalid JSON: X must be a whole number from'],
  [int64 as Codec<unknown>, 2 ** 53, 'invalid JSON: X must be a whole number from'],
  [uint32 as Codec<unknown>, -1, 'invalid JSON: X must be a whole number from 0 to 4294967295'],
  [texts as Codec<unknown>, 'a', 'invalid JSON: X must be a list, not a string'],
  [texts as Codec<unknown>, ['a', 5], 'invalid JSON: X[1] must be a string, not a number'],
  [textMap as Codec<unknown>, { a: 1 }, 'invalid JSON: X.a must be a string, not a number'],
  [textMap as Codec<unknown>, [], 'invalid JSON: X must be an object, not a list'],
  [outer as Codec<unknown>, { Items: [{}, { Count: 'x' }] }, 'X.Items[1].Count must be'],
  [outer as Codec<unknown>, { Inner: true }, 'X.Inner must be an object, not a boolean'],
  [base64 as Codec<unknown>, '!!', 'invalid JSON: X must be base64'],
];

for (const [codec, json, expected] of WRONG_TYPES) {
  test(`decode() of ${JSON.stringify(json)} says "${expected}"`, (t) => {
    const error = t.throws(() => codec.decode(json, 'X'));
    t.true(isShoalError(error, 'invalid-argument'));
    t.true(error.message.includes(expected), error.message);
  });
}

test('struct() finds fields in any case and ignores unknown ones', (t) => {
  t.deepEqual(inner.decode({ count: 2, NAME: 'x', Other: [1] }, ''), { count: 2, name: 'x' });
});

test('struct() refuses a field that is not served, naming the part that asks for something', (t) => {
  const error = t.throws(() =>
    outer.decode({ Refused: { Empty: {}, No: false, Deep: { Level: 's0' } } }, 'Spec'),
  );
  t.true(isShoalError(error, 'unimplemented'));
  t.is(error.message, 'this field is not supported yet: Spec.Refused.Deep.Level');
});

test('struct() lets a field pass that is not served and asks for nothing', (t) => {
  for (const empty of [null, {}, [], '', 0, false, { A: null, B: { C: [] } }]) {
    t.notThrows(() => outer.decode({ Refused: empty }, ''));
  }
});

test('encode() leaves out what is sparse and empty, and keeps the order of the table', (t) => {
  t.is(JSON.stringify(inner.encode({ count: 0, name: '' })), '{"Name":""}');
  t.is(JSON.stringify(inner.encode({ name: 'n', count: 3 })), '{"Count":3,"Name":"n"}');
});

test('words() reads and writes an enum; nothing is the first word', (t) => {
  const codec = words<number>({ active: 0, pause: 1 });
  t.is(codec.decode('', 'X'), 0);
  t.is(codec.decode('PAUSE', 'X'), 1);
  t.is(codec.encode(1), 'pause');
  t.throws(() => codec.decode('nope', 'X'), {
    message: 'X must be one of active, pause, not "nope"',
  });
});

test('textMap keeps a label that is called __proto__', (t) => {
  const decoded = textMap.decode(JSON.parse('{"__proto__":"x"}'), '');
  t.deepEqual(Object.keys(decoded), ['__proto__']);
});
