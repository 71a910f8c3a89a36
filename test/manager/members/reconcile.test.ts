import test from 'ava';
import {
  type MemberStep,
  type MemberView,
  memberSteps,
  ORPHAN_AFTER_MS,
} from '../../../manager/members/reconcile.ts';
import { NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import { nodeFixture } from '../../support/objects.ts';

const status = (raftId: string, host = raftId) => ({
  raftId,
  address: `${host}:2377`,
  raftAddress: `${host}:7946`,
});
const view = (nodeId: string, raftId: string, more: Partial<MemberView> = {}): MemberView => ({
  member: { nodeId, ...status(raftId) },
  learner: false,
  silentMs: 0,
  ...more,
});
const manager = (id: string, raftId?: string, host?: string) =>
  nodeFixture({
    id,
    spec: { role: NodeRole.MANAGER },
    ...(raftId !== undefined && { managerStatus: status(raftId, host) }),
  });
const worker = (id: string, raftId?: string) =>
  nodeFixture({
    id,
    spec: { role: NodeRole.WORKER },
    ...(raftId !== undefined && { managerStatus: status(raftId) }),
  });
const short = (step: MemberStep): string => {
  switch (step.kind) {
    case 'leave':
      return `leave ${step.nodeId}`;
    case 'remove':
      return `remove ${step.raftId}`;
    case 'status':
      return `status ${step.nodeId} ${step.member?.raftId ?? 'none'}`;
  }
};

const LATE = { silentMs: ORPHAN_AFTER_MS };
const TABLE: readonly [
  string,
  nodes: Parameters<typeof memberSteps>[0],
  members: readonly MemberView[],
  string[],
][] = [
  ['all agree', [manager('n', 'r'), worker('w')], [view('n', 'r')], []],
  ['a demoted node leaves', [worker('n', 'r')], [view('n', 'r')], ['leave n']],
  ['so does one of which only the status is left', [worker('n', 'r')], [], ['leave n']],
  ['the member of a removed node leaves', [], [view('n', 'r')], ['leave n']],
  [
    'a voter that is silent stays: it may come back',
    [manager('n', 'r')],
    [view('n', 'r', LATE)],
    [],
  ],
  [
    'a learner that is catching up stays',
    [manager('n', 'r')],
    [view('n', 'r', { learner: true, silentMs: ORPHAN_AFTER_MS - 1 })],
    [],
  ],
  [
    'a learner that was never heard goes, and its status with it',
    [manager('n', 'r')],
    [view('n', 'r', { learner: true, ...LATE })],
    ['remove r', 'status n none'],
  ],
  [
    'the same when nobody wrote its status: the leader fell between the two',
    [manager('n')],
    [view('n', 'r', { learner: true, ...LATE })],
    ['remove r'],
  ],
  ['a member without a status gets one', [manager('n')], [view('n', 'r')], ['status n r']],
  ['a status of a member that is none goes', [manager('n', 'r')], [], ['status n none']],
  [
    'an identity that its node has replaced goes once it is silent',
    [manager('n', 'new')],
    [view('n', 'old', LATE), view('n', 'new')],
    ['remove old'],
  ],
  [
    'of two identities none goes while both may be in use',
    [manager('n', 'new')],
    [view('n', 'old'), view('n', 'new')],
    [],
  ],
  ['a new address is told', [manager('n', 'r', 'before')], [view('n', 'r')], ['status n r']],
];

for (const [title, nodes, members, steps] of TABLE) {
  test(`memberSteps(): ${title}`, (t) => {
    t.deepEqual(memberSteps(nodes, members).map(short), steps);
  });
}

test('memberSteps() are done once they are carried out', (t) => {
  for (const [title, nodes, members] of TABLE) {
    const after = new Map([...nodes].map((node) => [node.id, node]));
    let left = [...members];
    for (const step of memberSteps(nodes, members)) {
      if (step.kind === 'remove') left = left.filter(({ member }) => member.raftId !== step.raftId);
      if (step.kind === 'leave') left = left.filter(({ member }) => member.nodeId !== step.nodeId);
      const node = after.get(step.nodeId);
      if (node === undefined || step.kind === 'remove') continue;
      const { managerStatus: _, ...rest } = node;
      const said = step.kind === 'status' && step.member ? status(step.member.raftId) : undefined;
      after.set(node.id, said === undefined ? rest : manager(node.id, said.raftId));
    }
    t.deepEqual(memberSteps(after.values(), left), [], title);
  }
});
