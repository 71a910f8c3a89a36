import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { MemberBook } from '../../../manager/raft/members.ts';
import { NodeAdmin } from '../../../manager/raft/node-admin.ts';
import type { FromNode } from '../../../manager/raft/protocol.ts';
import type {
  ConfChange,
  ConfTransition,
  DropReason,
  Entry,
  ProgressView,
  ProposeResult,
  Raft,
  RaftId,
  RaftStatus,
  Role,
  TransferResult,
} from '../../../manager/raft/types.ts';
import { id, member } from './letters.ts';

/** A core that says what it is told to say, and writes down what it is asked for. */
class Core {
  role: Role = 'leader';
  term = 2;
  leader: RaftId | undefined = id('a');
  voters = 'abc';
  learners = '';
  lastIndex = 100;
  progress: Partial<Record<string, Partial<ProgressView>>> = {};
  refuses: DropReason | undefined;
  transfers: TransferResult = { kind: 'started' };
  readonly asked: string[] = [];

  status(): RaftStatus {
    const ids = (letters: string) => [...letters].map(id);
    return {
      id: id('a'),
      role: this.role,
      term: this.term,
      leader: this.leader,
      lastIndex: this.lastIndex,
      confState: { ...EMPTY_CONF, voters: ids(this.voters), learners: ids(this.learners) },
      progress: [...this.voters, ...this.learners].map((letter) => ({
        id: id(letter),
        learner: this.learners.includes(letter),
        state: 'replicate',
        match: this.lastIndex,
        next: this.lastIndex + 1,
        recentActive: true,
        inflight: 0,
        ...this.progress[letter],
      })),
    } as unknown as RaftStatus;
  }
  proposeConfChange(transition: ConfTransition): ProposeResult {
    const { kind, id: of } = transition as ConfChange;
    this.asked.push(`${kind} ${of[0]}`);
    if (this.refuses !== undefined) return { kind: 'dropped', reason: this.refuses };
    this.lastIndex++;
    return { kind: 'accepted', term: this.term, first: this.lastIndex, last: this.lastIndex };
  }
  transferLeadership(to: RaftId): TransferResult {
    this.asked.push(`transfer ${to[0]}`);
    return this.transfers;
  }
}

class World {
  readonly core = new Core();
  readonly book = new MemberBook();
  readonly posted: FromNode[] = [];
  active = 'abcd';
  readonly admin = new NodeAdmin({
    raft: this.core as unknown as Raft,
    book: this.book,
    post: (event) => this.posted.push(event),
    notLeader: () => ({ code: 'not-leader', message: 'elsewhere', leader: 'node-b' }),
    isActive: (of) => this.active.includes(of[0] ?? '-'),
    electionTicks: 10,
  });
  constructor() {
    const members = [...'abcd'].map(member);
    this.book.reset(1, EMPTY_CONF, { members, removed: [id('x')] });
  }
  /** `done 1`, `failed-precondition 2`. */
  get told(): string[] {
    return this.posted.map((event) =>
      event.kind === 'failed'
        ? `${event.error.code} ${event.firstId}`
        : `${event.kind} ${'id' in event ? event.id : ''}`,
    );
  }
  get why(): string {
    const last = this.posted.at(-1);
    return last?.kind === 'failed' ? last.error.message : '';
  }
  applied(index = this.core.lastIndex): void {
    this.admin.applied({ index } as Entry);
  }
}

test('a new member is added as a learner, and the order is done when that is applied', (t) => {
  const world = new World();
  world.admin.add(1, member('d'));
  t.deepEqual(world.core.asked, ['add-learner d']);
  world.applied(world.core.lastIndex - 1);
  t.deepEqual(world.told, [], 'another entry');
  world.applied();
  t.deepEqual(world.told, ['done 1']);
});

test('one that is a member already, at the same address, needs no change; at another it is named anew', (t) => {
  const world = new World();
  world.admin.add(1, member('b'));
  t.deepEqual([world.core.asked, world.told], [[], ['done 1']]);
  world.admin.add(2, { ...member('b'), raftAddress: 'elsewhere:7946' });
  t.deepEqual(world.core.asked, ['add-voter b']);
});

test('an id that was removed is never added again, nor a member without an address', (t) => {
  const world = new World();
  world.admin.add(1, member('x'));
  t.regex(world.why, /has been removed: it must join under a new id/);
  world.admin.add(2, { ...member('d'), raftAddress: 'nowhere' });
  t.regex(world.why, /not host:port/);
  t.deepEqual(world.told, ['failed-precondition 1', 'failed-precondition 2']);
  t.deepEqual(world.core.asked, []);
});

for (const [voters, active, removed, allowed] of [
  ['abc', 'abc', 'c', true],
  ['abc', 'ab', 'c', true], // the one that is gone
  ['abc', 'ac', 'c', false], // a and b would be left, and b does not answer
  ['abc', 'a', 'c', false],
  ['abcd', 'abd', 'd', true], // two of the three left
  ['abcd', 'ad', 'd', false],
  ['ab', 'a', 'b', true], // the leader goes on alone
] as const) {
  const what = `of ${voters}, heard ${active}, ${removed} ${allowed ? 'may' : 'may not'} go`;
  test(`removal is refused where those left would be no quorum: ${what}`, (t) => {
    const world = new World();
    world.core.voters = voters;
    world.active = active.replace('a', ''); // nobody hears itself
    world.admin.remove(1, id(removed));
    t.deepEqual(world.core.asked, allowed ? [`remove ${removed}`] : []);
    t.deepEqual(world.told, allowed ? [] : ['failed-precondition 1']);
    if (!allowed) t.regex(world.why, /can be reached, \d are needed/);
  });
}

test('a learner may always go, and one that is no member is gone already', (t) => {
  const world = new World();
  world.core.learners = 'd';
  world.active = '';
  world.admin.remove(1, id('d'));
  t.deepEqual(world.core.asked, ['remove d']);
  world.applied();
  world.admin.remove(2, id('x'));
  t.deepEqual(world.told, ['done 1', 'done 2']);
});

test('a leader is not removed before it has handed over, and the last one never', (t) => {
  const world = new World();
  world.admin.remove(1, id('a'));
  t.regex(world.why, /hand over leadership first/);
  world.core.voters = 'a';
  world.admin.remove(2, id('a'));
  t.regex(world.why, /the last manager/);
  t.deepEqual(world.core.asked, []);
});

test('orders go one after another, wait for what is in the way, and not for ever', (t) => {
  const world = new World();
  world.admin.add(1, member('d'));
  world.admin.remove(2, id('c'));
  t.deepEqual(world.core.asked, ['add-learner d']);
  world.applied();
  world.admin.tick();
  t.deepEqual(world.core.asked, ['add-learner d', 'remove c']);
  world.applied();
  world.core.refuses = 'not-committed-in-term';
  world.admin.remove(3, id('b'));
  for (let i = 0; i < 48; i++) world.admin.tick();
  t.deepEqual(world.told, ['done 1', 'done 2']);
  for (let i = 0; i < 3; i++) world.admin.tick();
  t.deepEqual(world.told, ['done 1', 'done 2', 'unavailable 3']);
});

test('when leadership is lost, what was proposed is of unknown outcome and what waited was not done', (t) => {
  const world = new World();
  world.admin.add(1, member('d'));
  world.admin.remove(2, id('c'));
  world.core.role = 'follower';
  world.core.leader = id('b');
  world.admin.roleChanged();
  t.deepEqual(world.told, ['unknown-outcome 1', 'not-leader 2']);
  world.applied();
  t.is(world.told.length, 2, 'each is told once');
  world.admin.add(3, member('d'));
  world.admin.transfer(4, undefined);
  t.deepEqual(world.told.slice(2), ['not-leader 3', 'not-leader 4']);
});

test('leading in a later term says as little of what was proposed in the one before', (t) => {
  const world = new World();
  world.admin.add(1, member('d'));
  world.admin.roleChanged();
  t.deepEqual(world.told, [], 'it leads on');
  world.core.term = 4;
  world.admin.roleChanged();
  t.deepEqual(world.told, ['unknown-outcome 1']);
});

test('a learner is promoted when it is fed, heard and near the end, and nothing else is under way', (t) => {
  const world = new World();
  const { core } = world;
  core.learners = 'd';
  core.lastIndex = 10_000;
  const promotes = (
    progress: Partial<ProgressView>,
    more: { active?: string; role?: Role } = {},
  ): boolean => {
    core.progress = { d: progress };
    world.active = more.active ?? 'bcd';
    core.role = more.role ?? 'leader';
    const before = core.asked.length;
    world.admin.tick();
    return core.asked.length > before;
  };
  t.false(promotes({ match: 1 }));
  t.false(promotes({ match: 9_999, state: 'snapshot' }));
  t.false(promotes({ match: 9_999, state: 'probe' }));
  t.false(promotes({ match: 9_999 }, { active: 'bc' }), 'a voter that is not there would cost');
  t.false(promotes({ match: 9_999 }, { role: 'follower' }));
  t.true(promotes({ match: 9_999 }));
  t.false(promotes({ match: 9_999 }), 'it is being promoted');
  world.applied();
  t.deepEqual(world.told, [], 'nobody ordered it');
  t.deepEqual(core.asked, ['add-voter d']);
});

test('leadership goes to the voter that is heard and has most of the log', (t) => {
  const world = new World();
  const to = (active: string, progress: Core['progress'] = {}) => {
    world.active = active;
    world.core.progress = progress;
    world.admin.transfer(1, undefined);
    return world.core.asked.splice(0)[0];
  };
  world.core.learners = 'd';
  t.is(to('bcd', { b: { match: 90 }, c: { match: 95 } }), 'transfer c');
  t.is(to('bd', { b: { match: 90 }, c: { match: 95 } }), 'transfer b');
  t.is(to('bcd'), 'transfer b', 'of equals the smaller id');
  t.is(to('d'), undefined);
  t.regex(world.why, /no other voting member can be reached/);
});

test('a transfer is done when another leads, and is over when nobody has taken over in time', (t) => {
  const world = new World();
  world.admin.transfer(1, id('b'));
  world.core.role = 'follower';
  world.core.leader = undefined;
  world.admin.roleChanged();
  t.deepEqual(world.told, []);
  world.core.leader = id('b');
  world.admin.roleChanged();
  t.deepEqual(world.told, ['done 1']);
  world.core.role = 'leader';
  world.admin.transfer(2, id('b'));
  for (let i = 0; i < 20; i++) world.admin.tick();
  t.deepEqual(world.told, ['done 1', 'unavailable 2']);
  world.core.transfers = { kind: 'refused', reason: 'not-a-voter' };
  world.admin.transfer(3, id('d'));
  world.core.transfers = { kind: 'refused', reason: 'is-self' };
  world.admin.transfer(4, id('a'));
  t.deepEqual(world.told.slice(2), ['failed-precondition 3', 'done 4']);
});
