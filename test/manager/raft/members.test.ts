import test from 'ava';
import { hasCaughtUp } from '../../../manager/raft/caught-up.ts';
import { changeConf, EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { encodeConfChange } from '../../../manager/raft/conf-codec.ts';
import {
  decodeDirectory,
  decodeMember,
  encodeDirectory,
  encodeMember,
  MemberBook,
  reachable,
} from '../../../manager/raft/members.ts';
import type { ConfChange, ConfState, ConfTransition, Entry } from '../../../manager/raft/types.ts';
import { id, member } from './letters.ts';

const change = (index: number, kind: ConfChange['kind'], letter: string): Entry => ({
  index,
  term: 1,
  type: 'conf-change',
  data: encodeConfChange({
    kind,
    id: id(letter),
    context: kind === 'remove' ? new Uint8Array(0) : encodeMember(member(letter)),
  }),
});

function begin(): { book: MemberBook; conf: ConfState; add: (entry: Entry) => void } {
  const book = new MemberBook();
  const state = {
    book,
    conf: { ...EMPTY_CONF, voters: [id('a')] } as ConfState,
    add: (entry: Entry) => {
      const [kind, letter] = parts.get(entry.index) ?? ['remove', 'x'];
      state.conf = changeConf(state.conf, {
        kind: kind as ConfChange['kind'],
        id: id(letter),
        context: new Uint8Array(0),
      });
      book.apply(entry, state.conf);
    },
  };
  book.reset(1, state.conf, { members: [member('a')], removed: [] });
  return state;
}
const parts = new Map<number, [string, string]>([
  [3, ['add-learner', 'b']],
  [5, ['add-voter', 'b']],
  [8, ['add-learner', 'c']],
  [9, ['remove', 'b']],
]);
const entries = [...parts].map(([index, [kind, letter]]) =>
  change(index, kind as ConfChange['kind'], letter),
);

test('members and directories go there and back', (t) => {
  t.deepEqual(decodeMember(encodeMember(member('a'))), member('a'));
  t.is(decodeMember(new Uint8Array(0)), undefined);
  const directory = { members: [member('a'), member('b')], removed: [id('c')] };
  t.deepEqual(decodeDirectory(encodeDirectory(directory)), directory);
});

test('the book knows the members as of an index behind the last change', (t) => {
  const { book, add } = begin();
  for (const entry of entries) add(entry);
  const names = (index: number) => {
    const { confState, directory } = book.asOf(index);
    return [
      confState.voters.map((one) => one[0]).join(''),
      confState.learners.map((one) => one[0]).join(''),
      directory.members.map((one) => one.raftId[0]).join(''),
      directory.removed.map((one) => one[0]).join(''),
    ];
  };
  t.deepEqual(names(2), ['a', '', 'a', '']);
  t.deepEqual(names(4), ['a', 'b', 'ab', '']);
  t.deepEqual(names(8), ['ab', 'c', 'abc', '']);
  t.deepEqual(names(100), ['a', 'c', 'ac', 'b']);
  t.true(book.wasRemoved(id('b')));
  t.false(book.wasRemoved(id('c')));
});

test('a member whose address is not known is still listed', (t) => {
  const { book } = begin();
  const listed = book.of({ ...EMPTY_CONF, voters: [id('a'), id('z')] });
  t.deepEqual(
    listed.map(({ raftId, nodeId }) => [raftId, nodeId]),
    [
      [id('a'), 'node-a'],
      [id('z'), ''],
    ],
  );
});

test('links go also to those that the end of the log is about to add', (t) => {
  const { book } = begin();
  const known = reachable(book, entries);
  t.deepEqual([...known.keys()], [id('a'), id('b'), id('c')]);
});

test('a learner is promoted when it is near the end of the log', (t) => {
  t.true(hasCaughtUp(0, 10), 'a short log counts as caught up: what is missing is a moment');
  t.false(hasCaughtUp(0, 100));
  t.true(hasCaughtUp(95, 100));
  t.true(hasCaughtUp(9_500, 10_000));
  t.false(hasCaughtUp(98_000, 100_000), 'nine tenths of a long log is too far away');
});

test('a voter that a joint change takes out is removed when that is left, and not before', (t) => {
  const { book } = begin();
  const none = new Uint8Array(0);
  const changes: ConfChange[] = [
    { kind: 'add-voter', id: id('b'), context: encodeMember(member('b')) },
    { kind: 'remove', id: id('a'), context: none },
  ];
  const enter = { kind: 'enter-joint', changes, autoLeave: true } as const;
  const leave = { kind: 'leave-joint' } as const;
  const asEntry = (index: number, transition: ConfTransition): Entry => ({
    index,
    term: 1,
    type: 'conf-change',
    data: encodeConfChange(transition),
  });
  const joint = changeConf({ ...EMPTY_CONF, voters: [id('a')] }, enter);
  t.deepEqual(book.apply(asEntry(3, enter), joint), []);
  t.deepEqual(book.get(id('a')), member('a'), 'it is needed still');
  t.deepEqual(book.apply(asEntry(4, leave), changeConf(joint, leave)), [id('a')]);
  t.true(book.wasRemoved(id('a')));
  t.is(book.get(id('a')), undefined);
});
