import test from 'ava';
import { NodeProposals } from '../../../manager/raft/node-proposals.ts';
import type { FromNode } from '../../../manager/raft/protocol.ts';
import type { DropReason, Raft, RaftStatus, Role } from '../../../manager/raft/types.ts';
import { entry } from './group.ts';

class World {
  role: Role = 'leader';
  term = 2;
  last = 0;
  refuses: DropReason | undefined;
  readonly posted: FromNode[] = [];
  readonly proposals = new NodeProposals({
    raft: {
      status: () => ({ role: this.role, term: this.term }) as RaftStatus,
      propose: (data: readonly Uint8Array[]) => {
        if (this.refuses !== undefined) return { kind: 'dropped', reason: this.refuses };
        const first = this.last + 1;
        this.last += data.length;
        return { kind: 'accepted', term: this.term, first, last: this.last };
      },
    } as unknown as Raft,
    post: (event) => this.posted.push(event),
    notLeader: () => ({ code: 'not-leader', message: 'elsewhere', leader: 'node-b' }),
  });
  propose(firstId: number, count: number): void {
    this.proposals.propose(
      firstId,
      Array.from({ length: count }, () => new Uint8Array(1)),
    );
  }
  get told(): [number, number, string][] {
    return this.posted.flatMap((event) =>
      event.kind === 'failed' ? [[event.firstId, event.count, event.error.code]] : [],
    );
  }
}

test('a proposal is known by index and term: another leader may have put something else there', (t) => {
  const world = new World();
  world.propose(7, 3);
  t.is(world.proposals.take(entry(1, 2)), 7);
  t.is(world.proposals.take(entry(2, 3)), undefined, 'of a later leader');
  t.is(world.proposals.take(entry(3, 2)), 9);
  t.is(world.proposals.take(entry(3, 2)), undefined, 'once');
  t.is(world.proposals.take(entry(4, 2)), undefined);
});

test('what is refused was not proposed, and says why', (t) => {
  const world = new World();
  world.refuses = 'uncommitted-limit';
  world.propose(1, 2);
  world.refuses = 'transferring';
  world.propose(3, 1);
  t.deepEqual(world.told, [
    [1, 2, 'resource-exhausted'],
    [3, 1, 'not-leader'],
  ]);
});

test('with leadership goes the knowledge of what is not committed yet, each told once', (t) => {
  const world = new World();
  world.propose(1, 2);
  world.proposals.take(entry(1, 2));
  world.proposals.roleChanged();
  t.deepEqual(world.told, [], 'it leads on in the same term');
  world.role = 'follower';
  world.proposals.roleChanged();
  world.proposals.roleChanged();
  world.proposals.close();
  t.deepEqual(world.told, [[2, 1, 'unknown-outcome']]);
});

test('who leads again in a later term drops what is of the earlier one, and keeps the rest', (t) => {
  const world = new World();
  world.propose(1, 1);
  world.term = 4;
  world.propose(2, 1);
  world.proposals.roleChanged();
  t.deepEqual(world.told, [[1, 1, 'unknown-outcome']]);
  t.is(world.proposals.take(entry(2, 4)), 2);
});
