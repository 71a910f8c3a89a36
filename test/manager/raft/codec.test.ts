import test from 'ava';
import fc from 'fast-check';
import {
  decodeEntry,
  decodeHardState,
  decodeMessage,
  decodeSnapshotMeta,
  encodeEntry,
  encodeHardState,
  encodeMessage,
  encodeSnapshotMeta,
} from '../../../manager/raft/codec.ts';
import { decodeConfChange, encodeConfChange } from '../../../manager/raft/conf-codec.ts';
import type {
  ConfChange,
  ConfState,
  ConfTransition,
  DropReason,
  Entry,
  EntryType,
  Message,
} from '../../../manager/raft/types.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { raftId } from './group.ts';

const EMPTY_ARBITRARIES = {
  votersOutgoing: fc.constant([]),
  learnersNext: fc.constant([]),
  autoLeave: fc.constant(false),
};
const number = fc.oneof(fc.nat(300), fc.maxSafeNat());
const id = fc.constantFrom(...'abcdefghij'.split('').map(raftId));
const ids = fc.uniqueArray(id, { maxLength: 5 });
const data = fc.uint8Array({ maxLength: 300 });
const single = fc.record({ ...EMPTY_ARBITRARIES, voters: ids, learners: ids });
const joint = fc.record({
  voters: ids,
  learners: ids,
  votersOutgoing: fc.uniqueArray(id, { minLength: 1, maxLength: 5 }),
  learnersNext: ids,
  autoLeave: fc.boolean(),
});
const confState: fc.Arbitrary<ConfState> = fc.oneof(single, joint);
const oneChange: fc.Arbitrary<ConfChange> = fc.record({
  kind: fc.constantFrom<ConfChange['kind']>('add-voter', 'add-learner', 'remove'),
  id,
  context: data,
});
const transition: fc.Arbitrary<ConfTransition> = fc.oneof(
  oneChange,
  fc.record({
    kind: fc.constant('enter-joint' as const),
    changes: fc.array(oneChange, { maxLength: 4 }),
    autoLeave: fc.boolean(),
  }),
  fc.constant({ kind: 'leave-joint' } as const),
);
const snapshot = fc.record({ index: number, term: number, confState });
const body = fc.record({
  type: fc.constantFrom<EntryType>('normal', 'conf-change'),
  term: number,
  data,
});
const envelope = { from: id, to: id, term: number };
const append = fc
  .record({
    type: fc.constant('append' as const),
    ...envelope,
    prevIndex: fc.nat(2 ** 40),
    prevTerm: number,
    commit: number,
    bodies: fc.array(body, { maxLength: 20 }),
  })
  .map(({ bodies, ...rest }) => {
    const entries = bodies.map((each, i): Entry => ({ ...each, index: rest.prevIndex + 1 + i }));
    return { ...rest, entries };
  });
const message: fc.Arbitrary<Message> = fc.oneof(
  append,
  fc.record({
    type: fc.constantFrom('pre-vote' as const, 'vote' as const),
    ...envelope,
    lastIndex: number,
    lastTerm: number,
    transfer: fc.boolean(),
  }),
  fc.record({
    type: fc.constantFrom('pre-vote-reply' as const, 'vote-reply' as const),
    ...envelope,
    granted: fc.boolean(),
    commit: number,
    commitTerm: number,
  }),
  fc.record({
    type: fc.constant('append-reply' as const),
    ...envelope,
    index: number,
    rejected: fc.boolean(),
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({
    type: fc.constant('heartbeat' as const),
    ...envelope,
    commit: number,
    readSeq: number,
  }),
  fc.record({ type: fc.constant('heartbeat-reply' as const), ...envelope, readSeq: number }),
  fc.record({ type: fc.constant('snapshot' as const), ...envelope, snapshot }),
  fc.record({ type: fc.constant('timeout-now' as const), ...envelope }),
  fc.record({ type: fc.constant('read-index' as const), ...envelope, requestId: number }),
  fc.record({
    type: fc.constant('read-index-reply' as const),
    ...envelope,
    requestId: number,
    index: number,
  }),
  fc.record({
    type: fc.constant('propose' as const),
    ...envelope,
    requestId: number,
    data: fc.array(data, { maxLength: 5 }),
  }),
  fc
    .record({ ...envelope, requestId: number, first: fc.nat(2 ** 40), more: fc.nat(100) })
    .map(({ first, more, ...rest }) => ({
      type: 'propose-reply' as const,
      ...rest,
      result: { kind: 'accepted' as const, term: rest.term, first, last: first + more },
    })),
  fc.record({
    type: fc.constant('propose-reply' as const),
    ...envelope,
    requestId: number,
    result: fc.record({
      kind: fc.constant('dropped' as const),
      reason: fc.constantFrom<DropReason>('not-leader', 'not-a-member', 'invalid-conf-change'),
    }),
  }),
);

test('every message comes back as it went', (t) => {
  fc.assert(
    fc.property(message, (sent) => {
      t.deepEqual(decodeMessage(encodeMessage(sent)), sent);
    }),
    { numRuns: 500 },
  );
});

test('stored values come back as they went', (t) => {
  fc.assert(
    fc.property(
      body,
      number,
      snapshot,
      fc.option(id, { nil: undefined }),
      transition,
      (entry, index, meta, vote, change) => {
        t.deepEqual(decodeEntry(encodeEntry({ ...entry, index }), index), { ...entry, index });
        t.deepEqual(decodeSnapshotMeta(encodeSnapshotMeta(meta)), meta);
        const state = { term: index, commit: meta.index, vote };
        t.deepEqual(decodeHardState(encodeHardState(state)), state);
        t.deepEqual(decodeConfChange(encodeConfChange(change)), change);
      },
    ),
  );
});

test('a message cut short anywhere, or with more after it, is refused as such', (t) => {
  fc.assert(
    fc.property(message, fc.nat(), (sent, cut) => {
      const whole = encodeMessage(sent);
      for (const bad of [whole.subarray(0, cut % whole.length), Uint8Array.from([...whole, 0])]) {
        const error = t.throws(() => decodeMessage(bad));
        t.true(isShoalError(error, 'invalid-argument'));
      }
    }),
  );
});

test('any bytes are decoded or refused, never anything else', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (bytes, versioned) => {
      if (versioned) bytes[0] = 1;
      try {
        decodeMessage(bytes);
      } catch (error) {
        t.true(isShoalError(error, 'invalid-argument'));
      }
      t.pass();
    }),
    { numRuns: 1_000 },
  );
});

test('a count that promises more entries than there are bytes allocates nothing', (t) => {
  const empty = encodeMessage({
    type: 'append',
    from: raftId('a'),
    to: raftId('b'),
    term: 1,
    prevIndex: 0,
    prevTerm: 0,
    commit: 0,
    entries: [],
  });
  const promised = Uint8Array.from([...empty.subarray(0, -1), 0xff, 0xff, 0xff, 0xff, 0x7f]);
  t.throws(() => decodeMessage(promised), { message: /ends too early/ });
});

test('an append of 256-byte entries costs less than 8 bytes an entry on top', (t) => {
  const entries = Array.from(
    { length: 64 },
    (_, i): Entry => ({
      index: 1_000_001 + i,
      term: 70_000,
      type: 'normal',
      data: new Uint8Array(256),
    }),
  );
  const bytes = encodeMessage({
    type: 'append',
    from: raftId('a'),
    to: raftId('b'),
    term: 70_000,
    prevIndex: 1_000_000,
    prevTerm: 70_000,
    commit: 1_000_000,
    entries,
  });
  t.true(bytes.length < 64 * (256 + 8) + 80);
});
