import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { MemberBook } from '../../../manager/raft/members.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import { NodeSnapshots } from '../../../manager/raft/node-snapshots.ts';
import type { NodeStorage, SnapshotSink } from '../../../manager/raft/ports.ts';
import type { Entry, SnapshotMeta } from '../../../manager/raft/types.ts';

const MIB = 1 << 20;

/** Snapshots and the log behind them; a commit waits until it is let go on. */
class World {
  readonly view = new MemoryLog();
  readonly adopted: number[] = [];
  readonly aborted: number[] = [];
  readonly fatal: unknown[] = [];
  asked = 0;
  needed: number | undefined;
  #commits: PromiseWithResolvers<void>[] = [];
  readonly snapshots: NodeSnapshots;
  constructor(snapshotEveryEntries = 10, trailingEntries = 5) {
    const book = new MemberBook();
    book.reset(0, EMPTY_CONF, { members: [], removed: [] });
    this.snapshots = new NodeSnapshots(
      {
        storage: {
          beginSnapshot: (meta: SnapshotMeta) => this.#sink(meta),
          adoptSnapshot: ({ index }: SnapshotMeta) => this.adopted.push(index),
          compact: () => undefined,
        } as unknown as NodeStorage,
        view: this.view,
        book,
        neededFrom: () => this.needed,
        ask: () => this.asked++,
        fatal: (error) => this.fatal.push(error),
      },
      { snapshotEveryEntries, trailingEntries },
    );
  }
  #sink({ index }: SnapshotMeta): SnapshotSink {
    const commit = Promise.withResolvers<void>();
    return {
      write: () => undefined,
      commit: () => {
        this.#commits.push(commit);
        return commit.promise;
      },
      abort: () => this.aborted.push(index),
    };
  }
  /** Entries that are on disk and applied. */
  entries(count: number, bytes = 1): void {
    const first = this.view.lastIndex() + 1;
    const data = new Uint8Array(bytes);
    const entries = Array.from(
      { length: count },
      (_, i): Entry => ({ index: first + i, term: 1, type: 'normal', data }),
    );
    this.view.append(entries);
    this.snapshots.handedOut(entries);
    this.snapshots.applied(this.view.lastIndex());
  }
  write(index: number): void {
    this.snapshots.begin(index);
    this.snapshots.chunk(new Uint8Array(1));
    this.snapshots.end(true);
  }
  async synced(): Promise<void> {
    for (const { resolve } of this.#commits.splice(0)) resolve();
    await new Promise(setImmediate);
  }
  install(index: number): void {
    this.view.install({ index, term: 2, confState: EMPTY_CONF });
  }
}

test('a state offered for a snapshot is not taken when a later one came from the leader', async (t) => {
  const world = new World();
  world.entries(10);
  t.is(world.asked, 1);
  world.install(10); // the very same
  world.write(10);
  world.install(50);
  world.write(10);
  await world.synced();
  t.deepEqual([world.adopted, world.aborted, world.fatal], [[], [], []]);
});

test('a snapshot whose sync ends after a later one came from the leader is left alone', async (t) => {
  const world = new World();
  world.entries(10);
  world.write(10);
  world.install(50);
  await world.synced();
  t.deepEqual([world.adopted, world.fatal], [[], []]);
  t.deepEqual([world.view.snapshot()?.index, world.view.firstIndex()], [50, 51]);
  world.entries(10);
  t.is(world.asked, 2, 'and the next one is asked for as ever');
});

test('one snapshot at a time: none is asked for while one is written or synced', async (t) => {
  const world = new World();
  world.entries(10);
  world.entries(10);
  t.is(world.asked, 1);
  world.write(10);
  world.entries(10);
  t.is(world.asked, 1, 'it is not on disk yet');
  await world.synced();
  t.deepEqual(world.adopted, [10]);
  world.entries(1);
  t.is(world.asked, 2);
});

test('a snapshot is due after so many bytes, however few the entries', (t) => {
  const world = new World(1_000_000);
  world.entries(31, MIB);
  t.is(world.asked, 0);
  world.entries(1, MIB);
  t.is(world.asked, 1);
});

test('entries kept for slow members are bounded in bytes', async (t) => {
  const world = new World(20, 1_000);
  world.entries(20, MIB);
  world.write(20);
  await world.synced();
  t.is(20 - world.view.firstIndex() + 1, 7, 'MiB, but for what comes on top of an entry');
});

test('a member that is catching up holds the log, up to a bound in bytes', async (t) => {
  const near = new World(20, 0);
  near.entries(20, MIB);
  near.needed = 3;
  near.write(20);
  await near.synced();
  t.is(near.view.firstIndex(), 3);
  const far = new World(40, 0);
  far.entries(40, MIB);
  far.needed = 3;
  far.write(40);
  await far.synced();
  t.is(far.view.firstIndex(), 41, 'it is sent a snapshot in any case: nothing is kept in vain');
});
