/** Goal: what an answer of the Engine API tells of a call, no more. Method: answers as managers give them. */
import test from 'ava';
import { hotKey, outcomeOf, rareKey, seenInList, tellsByLosing } from './registers.ts';

const KEY = hotKey(2, 1);
const READ = { kind: 'get', key: KEY } as const;
const CREATE = { kind: 'cas', key: KEY, expected: 0, value: 9 } as const;
const UPDATE = { kind: 'cas', key: KEY, expected: 7, value: 9 } as const;
const OBJECT = { ID: 'abc', Version: { Index: 12 }, Spec: { Labels: { key: '17', value: '7' } } };

const answer = (status: number, text = '') => ({ kind: 'answer', status, text }) as const;

test('a read gives the label, and 0 for what does not exist', (t) => {
  const seen = { id: 'abc', version: 12, value: 7 };
  t.deepEqual(outcomeOf(READ, answer(200, JSON.stringify(OBJECT))), {
    kind: 'done',
    output: 7,
    seen,
  });
  t.deepEqual(outcomeOf(READ, answer(404)), { kind: 'done', output: 0 });
  t.deepEqual([...seenInList(JSON.stringify([OBJECT]))], [[17, seen]]);
});

test('a swap is won, or lost to another value', (t) => {
  t.deepEqual(outcomeOf(CREATE, answer(201, '{}')), { kind: 'done', output: 1 });
  t.deepEqual(outcomeOf(CREATE, answer(409)), { kind: 'done', output: 0 });
  t.deepEqual(outcomeOf(UPDATE, answer(200)), { kind: 'done', output: 1 });
  const late = answer(500, 'rpc error: code = Unknown desc = update out of sequence');
  t.deepEqual(outcomeOf(UPDATE, late), { kind: 'done', output: 0 });
});

test('nothing was done when the server says so, or never heard of it', (t) => {
  t.is(outcomeOf(UPDATE, { kind: 'unsent', why: 'ECONNREFUSED' }).kind, 'refused');
  t.is(outcomeOf(UPDATE, answer(503, 'rpc error: code = Unavailable')).kind, 'refused');
  t.is(outcomeOf(UPDATE, answer(500, 'rpc error: code = ResourceExhausted')).kind, 'refused');
});

test('the outcome is open after a lost answer and after errors that do not tell', (t) => {
  t.is(outcomeOf(UPDATE, { kind: 'lost', why: 'ECONNRESET' }).kind, 'unknown');
  t.is(outcomeOf(CREATE, answer(500, 'rpc error: code = Unknown')).kind, 'unknown');
});

test('an object that was seen cannot be missing, nor can a good request be wrong', (t) => {
  t.is(outcomeOf(UPDATE, answer(404)).kind, 'absurd');
  t.is(outcomeOf(CREATE, answer(400)).kind, 'absurd');
});

test('services tell nothing by losing: others change them, too', (t) => {
  t.false(tellsByLosing(hotKey(0, 7)));
  t.true(tellsByLosing(hotKey(3, 0)));
  t.true(tellsByLosing(rareKey(7)));
});
