/**
 * One manager's consensus and store in a process of its own, for store-writes.ts. Orders come over
 * the channel of its parent; writes over a socket on loopback: frames of {u32 length, u32 id, value},
 * each answered by {u32 id, u32 0 for done}. A write is a Config, checked and written as the Control
 * service does it.
 */
import { createServer, type Socket } from 'node:net';
import { createFile } from '../../manager/control/files.ts';
import { DEFAULT_COMPACTION } from '../../manager/raft/compaction.ts';
import { startWorkerConsensus } from '../../manager/raft/io/start.ts';
import { runScheduler } from '../../manager/scheduler/runner.ts';
import { Store } from '../../manager/store/store.ts';
import { createAction } from '../../manager/store/tables.ts';
import { StoreWriter, writeInBatches } from '../../manager/store/writer.ts';
import { messageOf } from '../../shared/errors.ts';
import { ConfigSpec, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../shared/ids.ts';
import { systemClock, systemRandom } from '../../shared/io/system.ts';
import { silentLog } from '../../shared/log.ts';
import { IdentityHolder, type TlsIdentity } from '../../shared/pki/identity.ts';
import { nodeFixture, serviceFixture, taskOf, taskSpecFixture } from '../support/objects.ts';

export type StoreMemberInput = Readonly<{
  folder: string;
  port: number;
  /** Where links are taken, when not at the member's own address: behind a relay. */
  listen: string;
  identity: TlsIdentity;
  member: RaftMember;
  members: readonly RaftMember[];
  start: 'bootstrap' | 'join' | 'restart';
}>;
export type Order =
  | Readonly<{ id: number; call: 'add'; member: RaftMember }>
  | Readonly<{ id: number; call: 'compaction'; snapshotEveryEntries: number }>
  /** So many tasks of one service for 1,000 nodes; answered when the scheduler has placed all. */
  | Readonly<{ id: number; call: 'schedule'; tasks: number }>
  | Readonly<{ id: number; call: 'status' }>;
export type Reply = Readonly<{
  id: number;
  error?: string;
  isLeader: boolean;
  voters: number;
  applied: number;
  term: number;
}>;

const input = JSON.parse(process.argv[2] ?? '{}') as StoreMemberInput;
const store = new Store();
const { member, members, start } = input;
const consensus = await startWorkerConsensus({
  folder: input.folder,
  listen: input.listen,
  identity: new IdentityHolder(input.identity),
  start: start === 'restart' ? { kind: start } : { kind: start, member, members },
  stateMachine: store,
  log: silentLog,
  logLevel: 'error',
  fatal: (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  },
});
const writer = new StoreWriter({ consensus, store, clock: systemClock, random: systemRandom });
const deps = { store, writer, random: systemRandom };

createServer(serve).listen(input.port, '127.0.0.1', () => tell(0));
process.on('disconnect', () => process.exit(0));
process.on('message', (order: Order) => {
  carryOut(order).then(
    () => tell(order.id),
    (error: unknown) => tell(order.id, messageOf(error)),
  );
});

async function carryOut(order: Order): Promise<void> {
  if (order.call === 'add') await consensus.addMember(order.member);
  else if (order.call === 'schedule') await schedule(order.tasks);
  else if (order.call === 'compaction') {
    const { snapshotEveryEntries } = order;
    const often = snapshotEveryEntries < DEFAULT_COMPACTION.snapshotEveryEntries;
    consensus.setCompaction({
      ...DEFAULT_COMPACTION,
      snapshotEveryEntries,
      // However large the state is: its snapshots are what is measured then.
      ...(often ? { leastLogRatio: 0 } : {}),
    });
  }
}

async function schedule(count: number): Promise<void> {
  const nodes = Array.from({ length: 1_000 }, (_, i) => nodeFixture({ id: `node${i}` }));
  const service = serviceFixture({ spec: { task: taskSpecFixture({}) } });
  await writeInBatches(
    writer,
    [createAction('service', service)].concat(nodes.map((node) => createAction('node', node))),
  );
  const waiting = new Set<string>();
  const tasks = Array.from({ length: count }, (_, i) => {
    const status = { state: TaskState.PENDING };
    const task = taskOf(service, { id: `task${i}`, slot: i + 1, status });
    waiting.add(task.id);
    return createAction('task', task);
  });
  const placed = Promise.withResolvers<void>();
  const stop = new AbortController();
  store.onCommit(({ changes }) => {
    for (const { table, object } of changes) {
      if (table === 'task' && object.nodeId !== '') waiting.delete(object.id);
    }
    if (waiting.size === 0) placed.resolve();
  });
  const deps = { store, writer, clock: systemClock, random: systemRandom, log: silentLog };
  const running = runScheduler(deps, stop.signal);
  await writeInBatches(writer, tasks);
  await placed.promise;
  stop.abort();
  await running;
}

function tell(id: number, error?: string): void {
  const { isLeader, members: all, appliedIndex, term } = consensus.status();
  const voters = all.filter(({ learner }) => !learner).length;
  const reply: Reply = { id, isLeader, voters, applied: appliedIndex, term };
  process.send?.(error === undefined ? reply : { ...reply, error });
}

function serve(socket: Socket): void {
  socket.setNoDelay(true);
  let rest: Buffer = Buffer.alloc(0);
  // One segment for all that was answered in a turn, as any server that expects load does.
  let answers: Buffer[] = [];
  const answer = (id: number, code: number) => {
    const frame = Buffer.allocUnsafe(8);
    frame.writeUInt32BE(id, 0);
    frame.writeUInt32BE(code, 4);
    if (answers.push(frame) > 1) return;
    setImmediate(() => {
      socket.write(Buffer.concat(answers));
      answers = [];
    });
  };
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.length - at >= 8) {
      const end = at + 4 + rest.readUInt32BE(at);
      if (rest.length < end) break;
      const id = rest.readUInt32BE(at + 4);
      const data = Buffer.from(rest.subarray(at + 8, end));
      const spec = ConfigSpec.fromPartial({ name: `bench-${newId(systemRandom)}`, data });
      createFile(deps, 'config', spec).then(
        () => answer(id, 0),
        () => answer(id, 1),
      );
      at = end;
    }
    rest = rest.subarray(at);
  });
}
