import test from 'ava';
import { EMPTY_CONF, isMove } from '../../../manager/raft/conf-change.ts';
import type { ConfChange } from '../../../manager/raft/types.ts';
import { bytes, change, Group, raftId } from './group.ts';

const move = (kind: ConfChange['kind'], name: string): ConfChange => ({
  ...change(kind, name),
  context: bytes('an address'),
});

test('a member may be named again with another address; its place and the others stay', (t) => {
  const group = Group.of(3);
  const leader = group.elect('a');
  for (const name of ['b', 'a']) {
    t.is(leader.core.proposeConfChange(move('add-voter', name)).kind, 'accepted');
    group.settle();
    for (const member of group.members.values()) {
      t.deepEqual(member.status.confState.voters, ['a', 'b', 'c'].map(raftId));
      t.is(member.applied.at(-1)?.type, 'conf-change');
    }
  }
  leader.propose('after');
  group.settle();
  t.deepEqual(group.get('b').appliedTexts(), ['after']);
});

test('isMove() is one of a member in its own place, with something to say', (t) => {
  const conf = { ...EMPTY_CONF, voters: [raftId('a')], learners: [raftId('b')] };
  t.true(isMove(conf, move('add-voter', 'a')));
  t.true(isMove(conf, move('add-learner', 'b')));
  t.false(isMove(conf, change('add-voter', 'a')), 'without an address it does nothing');
  t.false(isMove(conf, move('add-learner', 'a')), 'that would take its vote');
  t.false(isMove(conf, move('add-voter', 'b')), 'that is a promotion');
  t.false(isMove(conf, move('remove', 'a')));
  t.false(isMove(conf, { kind: 'leave-joint' }));
  const joint = { ...conf, votersOutgoing: [raftId('c')] };
  t.false(isMove(joint, move('add-voter', 'a')), 'a joint change is not disturbed');
});
