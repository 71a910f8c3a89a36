import test from 'ava';
import { DEFAULT_COMPACTION } from '../../../manager/raft/compaction.ts';
import { LogKeys } from '../../../manager/raft/io/log-keys.ts';
import { WalLog } from '../../../manager/raft/io/wal-log.ts';
import {
  DEFAULT_TIMING,
  type NodeStart,
  noteRemoved,
  ownerOf,
  prepare,
} from '../../../manager/raft/node-start.ts';
import { entry } from './group.ts';
import { SimDisk } from './io/sim-disk.ts';
import { id, member } from './letters.ts';

const open = (disk: SimDisk) => new WalLog(disk, new LogKeys(disk, undefined));
const config = (start: NodeStart, clusterId = 'c') => ({
  start,
  clusterId,
  timing: DEFAULT_TIMING,
  compaction: DEFAULT_COMPACTION,
});
const state = [Uint8Array.of(1)];
const bootstrap: NodeStart = { kind: 'bootstrap', member: member('a'), state };
const restart: NodeStart = { kind: 'restart' };
const forceNew: NodeStart = { kind: 'force-new', member: member('a') };

test('whoever goes on alone has all of its log, again after a power loss at any moment of it', (t) => {
  for (let operation = 0; ; operation++) {
    const disk = new SimDisk();
    const log = open(disk);
    prepare(config(bootstrap), log);
    log.append({ entries: [entry(2, 1), entry(3, 1)] }); // nobody said yet that they are committed
    disk.powerUntil = disk.operations + operation;
    let isDone = true;
    try {
      prepare(config(forceNew), log);
    } catch {
      isDone = false;
    }
    const again = open(disk.crash(() => false));
    const after = prepare(config(forceNew), again).state;
    t.deepEqual(
      after.entries.slice(0, 2).map(({ index, term }) => [index, term]),
      [
        [2, 1],
        [3, 1],
      ],
    );
    t.is(after.entries.at(-1)?.index, after.hardState.commit, 'all of it is committed');
    t.true(operation < 100);
    if (isDone) break;
  }
});

test('a log is started as whose it is, by the cluster whose it is, and by none once it was removed', (t) => {
  const disk = new SimDisk();
  t.throws(() => prepare(config(restart), open(disk)), { message: /no Raft log to start from/ });
  t.throws(() => prepare(config(forceNew), open(new SimDisk())), { message: /no Raft log/ });
  const log = open(disk);
  t.is(ownerOf(log), undefined);
  prepare(config(bootstrap), log);
  t.deepEqual(ownerOf(log), { raftId: id('a'), clusterId: 'c', removed: false });
  t.throws(() => prepare(config(restart, 'another'), open(disk.kill())), {
    message: /is of cluster c, this node is of another/,
  });
  for (const kind of ['force-new', 'join'] as const) {
    const start = { kind, member: member('b'), members: [] };
    t.throws(() => prepare(config(start), open(disk.kill())), { message: /that of (member )?a+/ });
  }
  noteRemoved(log, 'an operator wanted it');
  for (const start of [restart, forceNew, bootstrap]) {
    t.throws(() => prepare(config(start), open(disk.kill())), { message: /was removed/ });
  }
  t.true(ownerOf(open(disk.kill()))?.removed);
});

test('a start that is tried again after a crash does not begin the log anew', (t) => {
  const disk = new SimDisk();
  const log = open(disk);
  prepare(config(bootstrap), log);
  log.append({ entries: [entry(2, 1)] });
  t.is(prepare(config(bootstrap), open(disk.kill())).state.entries.length, 1);
});
