/** Proposals of members that do not lead: each ends in one of three ways, and only the certain is said. */
import test from 'ava';
import { ForwardedProposals, SeenRequests } from '../../../manager/raft/forwarded-proposals.ts';
import { Output } from '../../../manager/raft/output.ts';
import {
  decodeSessionCommand,
  encodeSessionCommand,
  Sessions,
} from '../../../manager/raft/sessions.ts';
import type {
  Message,
  ProposeRequest,
  ProposeResult,
  RaftOptions,
} from '../../../manager/raft/types.ts';
import { bytes, change, Group, type Member, Member as NewMember, raftId } from './group.ts';

function led(voters = 3) {
  const group = Group.of(voters);
  const a = group.elect('a');
  group.pass(2);
  return { group, a, b: group.get('b') };
}

function forward(member: Member, ...texts: string[]): number {
  const result = member.core.forwardProposal(texts.map(bytes));
  if (result.kind !== 'sent') throw new Error(`not sent: ${result.reason}`);
  return result.requestId;
}

function isProposal(message: Message): message is ProposeRequest {
  return message.type === 'propose';
}

test('a batch forwarded is committed, and its member is told where', (t) => {
  const { group, b } = led();
  const requestId = forward(b, 'x', 'y');
  group.pass(2);
  t.deepEqual(b.forwarded, [{ requestId, outcome: 'committed', first: 3, last: 4 }]);
  t.deepEqual(group.get('c').appliedTexts(), ['x', 'y']);
});

test('a learner may forward, a stranger may not', (t) => {
  const { group, a } = led();
  const n = group.add(new NewMember('n', {}));
  a.core.proposeConfChange(change('add-learner', 'n'));
  group.pass(4);
  forward(n, 'x');
  group.pass(2);
  t.like(n.forwarded[0], { outcome: 'committed' });
  a.core.step({
    type: 'propose',
    from: raftId('z'),
    to: a.id,
    term: 2,
    requestId: 1,
    data: [bytes('no')],
  });
  t.like(a.run()[0], {
    type: 'propose-reply',
    result: { kind: 'dropped', reason: 'not-a-member' },
  });
});

test('without a leader, at the leader and beyond the limit nothing is sent', (t) => {
  t.like(Group.of(3).get('b').core.forwardProposal([]), { reason: 'no-leader' });
  const { a, b } = led();
  t.like(a.core.forwardProposal([]), { reason: 'is-leader' });
  for (let i = 0; i < 100; i++) forward(b, `${i}`);
  t.like(b.core.forwardProposal([]), { kind: 'dropped', reason: 'too-many' });
});

test('a batch beyond the size of a message is not sent, a single payload always is', (t) => {
  const group = Group.of(3, { maxMessageBytes: 10 });
  group.elect('a');
  const b = group.get('b');
  const large = bytes('x'.repeat(11));
  t.deepEqual(b.core.forwardProposal([large, large]), { kind: 'dropped', reason: 'too-large' });
  t.is(b.core.forwardProposal([large]).kind, 'sent');
});

test('what the leader refuses is refused', (t) => {
  const { group, a, b } = led();
  group.isolate('c');
  a.core.transferLeadership(raftId('c'));
  const requestId = forward(b, 'x');
  group.settle();
  t.deepEqual(b.forwarded, [{ requestId, outcome: 'refused', reason: 'transferring' }]);
  group.pass(30);
  t.deepEqual(b.appliedTexts(), []);
});

test('one that is lost on its way, or whose answer is, has an unknown outcome in time', (t) => {
  const { group, b } = led();
  const lost = forward(b, 'lost');
  group.settle(isProposal);
  const applied = forward(b, 'applied');
  group.settle(({ type }) => type === 'propose-reply');
  group.pass(40);
  t.deepEqual(b.forwarded, [
    { requestId: lost, outcome: 'unknown', reason: 'timed-out' },
    { requestId: applied, outcome: 'unknown', reason: 'timed-out' },
  ]);
  t.deepEqual(b.appliedTexts(), ['applied'], 'unknown is the truth about both');
});

test('a change of leader makes unknown what had no answer, and nothing else', (t) => {
  const { group, a, b } = led();
  const answered = forward(b, 'answered');
  b.run().forEach((message) => {
    a.core.step(message);
  });
  for (const message of a.run()) b.core.step(message); // its place is known, and so is its entry
  b.run();
  const silent = forward(b, 'silent');
  b.run();
  b.core.forgetLeader();
  b.run();
  t.deepEqual(b.forwarded, [{ requestId: silent, outcome: 'unknown', reason: 'leader-changed' }]);
  group.pass(3);
  t.like(b.forwarded[1], { requestId: answered, outcome: 'committed' });
});

test('an entry that another leader replaced was refused, for certain', (t) => {
  const { group, a, b } = led();
  const requestId = forward(b, 'x');
  b.run().forEach((message) => {
    a.core.step(message);
  });
  group.isolate('a');
  for (const message of a.run()) if (message.type === 'propose-reply') b.core.step(message);
  group.pass(40); // b and c elect one of them; the entry is in neither's log
  const leader = [b, group.get('c')].find(({ status }) => status.role === 'leader');
  leader?.propose('y');
  group.pass(2);
  t.deepEqual(b.forwarded, [{ requestId, outcome: 'refused', reason: 'overwritten' }]);
  group.mend();
  group.pass(10);
  t.deepEqual(a.appliedTexts(), ['y']);
});

test('a request that comes twice is appended once, whatever the first copy was told', (t) => {
  const { group, a, b } = led();
  forward(b, 'x');
  const [request] = b.run().filter(isProposal);
  if (request === undefined) throw new Error('nothing was sent');
  a.core.step(request);
  a.core.step(request);
  group.settle();
  t.deepEqual(group.get('c').appliedTexts(), ['x']);
  group.isolate('c');
  a.core.transferLeadership(raftId('c'));
  forward(b, 'refused');
  const [late] = b.run().filter(isProposal);
  if (late === undefined) throw new Error('nothing was sent');
  a.core.step(late);
  group.pass(15); // the transfer is given up; now the second copy arrives
  a.core.step(late);
  group.pass(2);
  t.deepEqual(b.appliedTexts(), ['x']);
});

test('a request of an earlier term reaches no later leader', (t) => {
  const { group, a, b } = led();
  forward(b, 'late');
  const [request] = b.run().filter(isProposal);
  a.core.transferLeadership(raftId('c'));
  group.settle();
  group.get('c').core.transferLeadership(a.id);
  group.settle();
  t.is(a.status.role, 'leader', 'in a later term');
  a.core.step(request as Message);
  group.pass(2);
  t.deepEqual(a.appliedTexts(), []);
});

test('a retry under the same session and sequence counts once, across a change of leader', (t) => {
  const { group, a, b } = led();
  const command = (seq: number) =>
    encodeSessionCommand({ kind: 'write', session: 3, seq, floor: 1, data: bytes(`w${seq}`) });
  b.core.forwardProposal([encodeSessionCommand({ kind: 'open' })]);
  group.pass(2);
  b.core.forwardProposal([command(1)]);
  group.settle(({ type }) => type === 'propose-reply'); // committed, and nobody tells b
  a.core.transferLeadership(raftId('c'));
  group.pass(2);
  t.like(b.forwarded.at(-1), { outcome: 'unknown' });
  b.core.forwardProposal([command(1)]);
  group.pass(2);
  t.like(b.forwarded.at(-1), { outcome: 'committed' });
  for (const { applied } of group.members.values()) {
    const sessions = new Sessions({ maxSessions: 8, maxWritesAhead: 8 });
    const verdicts = applied
      .filter(({ type, data }) => type === 'normal' && data.length > 0)
      .map(({ index, data }) => sessions.take(index, decodeSessionCommand(data)).kind);
    t.deepEqual(verdicts, ['opened', 'apply', 'repeat']);
  }
});

test('a copy of what was refused is not taken when the cause of the refusal has gone', (t) => {
  const { group, a } = led();
  const order = {
    type: 'propose',
    from: raftId('n'),
    to: a.id,
    term: 2,
    requestId: 7,
    data: [bytes('late')],
  } as const;
  a.core.step(order);
  t.like(a.run()[0], { type: 'propose-reply', result: { reason: 'not-a-member' } });
  group.add(new NewMember('n', {}));
  a.core.proposeConfChange(change('add-learner', 'n'));
  group.pass(4);
  a.core.step(order);
  group.pass(2);
  t.deepEqual(a.appliedTexts(), []);
});

test('a leader that stepped down in its term does not refuse a copy of what it has appended', (t) => {
  const { group, a, b } = led();
  const requestId = forward(b, 'x');
  const [order] = b.run().filter(isProposal);
  if (order === undefined) throw new Error('nothing was sent');
  a.core.step(order);
  a.run();
  group.isolate('a');
  for (let i = 0; i < 25; i++) a.core.tick();
  t.is(a.status.role === 'leader', false);
  t.is(a.status.term, 2);
  a.core.step(order);
  a.core.step({ ...order, requestId: requestId + 1 });
  const answers = a.run().filter(({ type }) => type === 'propose-reply');
  t.deepEqual(
    answers.map((answer) => (answer.type === 'propose-reply' ? answer.requestId : 0)),
    [requestId + 1],
    'only what is new can be refused for certain',
  );
});

test('a leader knows the first copy of a request in the term that it leads, and in no other', (t) => {
  const seen = new SeenRequests(3);
  const b = raftId('b');
  t.false(seen.isNew(3, b, 1), 'it may have led in that term before a restart');
  seen.ledIn(3);
  t.true(seen.isNew(3, b, 1));
  seen.ledIn(3);
  t.false(seen.isNew(3, b, 1));
  t.true(seen.isNew(3, raftId('c'), 1), 'of another member');
  t.false(seen.isNew(4, b, 2));
  seen.ledIn(4);
  t.true(seen.isNew(4, b, 1));
});

test('a member has no more requests on their way than its leader can remember', (t) => {
  const asked = new ForwardedProposals(1, { maxPendingReads: 3, electionTicks: 10 } as RaftOptions);
  const refused: ProposeResult = { kind: 'dropped', reason: 'transferring' };
  const answer = (requestId: number) => {
    const reply = { from: raftId('a'), to: raftId('b'), term: 2 };
    asked.onReply({ type: 'propose-reply', ...reply, requestId, result: refused }, new Output());
  };
  t.deepEqual([asked.add(), asked.add(), asked.add()], [1, 2, 3]);
  answer(2);
  answer(3);
  t.is(asked.add(), undefined, 'a copy of the first would be taken for a new one');
  answer(1);
  t.is(asked.add(), 4);
});
