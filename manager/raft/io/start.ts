import { Worker } from 'node:worker_threads';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import { systemClock } from '../../../shared/io/system.ts';
import type { Log, LogLevel } from '../../../shared/log.ts';
import type { IdentitySource, TlsIdentity } from '../../../shared/pki/identity.ts';
import { type CompactionPolicy, DEFAULT_COMPACTION } from '../compaction.ts';
import type { StateMachine } from '../consensus.ts';
import { ConsensusClient } from '../consensus-client.ts';
import { DEFAULT_TIMING, type NodeConfig, type NodeStart, type NodeTiming } from '../node-start.ts';
import { buffersOf, type FromNode, type ToNode } from '../protocol.ts';
import type { RunningNode } from './run-node.ts';

export type ConsensusStart =
  /** The state machine's state is that of `index`, 1 when not told. */
  | Readonly<{ kind: 'bootstrap'; member: RaftMember; index?: number }>
  | Readonly<{ kind: 'join'; member: RaftMember; members: readonly RaftMember[] }>
  | Readonly<{ kind: 'restart' }>
  | Readonly<{ kind: 'force-new'; member: RaftMember }>;

export type ConsensusOptions = Readonly<{
  /** The log's own folder; created when missing. */
  folder: string;
  /** What opens a log that locks itself: nothing on its disk does. */
  kek?: Uint8Array;
  /** host:port for the links of other members; usually 0.0.0.0:7946. */
  listen: string;
  /** host:port where others reach this member now; undefined: where its group has it. */
  advertise?: string;
  identity: IdentitySource;
  start: ConsensusStart;
  stateMachine: StateMachine;
  log: Log;
  /** Consensus or the state machine cannot go on: end the program, nothing can be repaired here. */
  fatal: (error: Error) => void;
  timing?: NodeTiming;
  compaction?: CompactionPolicy;
  readTimeoutMs?: number;
  logLevel?: LogLevel;
}>;

/** What the worker is given at its start. */
export type WorkerInput = Readonly<{
  folder: string;
  kek: Uint8Array | undefined;
  listen: string;
  advertise: string | undefined;
  identity: TlsIdentity;
  config: NodeConfig;
  logLevel: LogLevel;
}>;
export type ToWorker =
  | Readonly<{ kind: 'batch'; batch: readonly ToNode[] }>
  | Readonly<{ kind: 'identity'; identity: TlsIdentity }>;

/** The node's heap holds the log's tail and little else; the young part small, so that it stays flat. */
const WORKER_LIMITS = { maxOldGenerationSizeMb: 384, maxYoungGenerationSizeMb: 4 };

/**
 * Starts consensus in a thread of its own, so that neither a garbage collection nor a long round of
 * the main thread delays a heartbeat. Resolves when the log is loaded and the state restored from its
 * snapshot. Throws ShoalError `failed-precondition` for a log that cannot be trusted, belongs to
 * another member or cluster, or to a member that was removed; and for an address that is taken.
 */
export async function startWorkerConsensus(options: ConsensusOptions): Promise<ConsensusClient> {
  const input: WorkerInput = {
    folder: options.folder,
    kek: options.kek,
    listen: options.listen,
    advertise: options.advertise,
    identity: options.identity.current(),
    config: configOf(options),
    logLevel: options.logLevel ?? 'info',
  };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: input,
    resourceLimits: WORKER_LIMITS,
    name: 'raft',
  });
  const post = (message: ToWorker, transfer: ArrayBuffer[] = []) =>
    worker.postMessage(message, transfer);
  const client = new ConsensusClient(
    { post: (batch) => post({ kind: 'batch', batch }, buffersOf(batch)) },
    clientPorts(options, () => client.started),
  );
  const stopFollowing = options.identity.onChange((identity) =>
    post({ kind: 'identity', identity }),
  );
  worker.on('message', (batch: readonly FromNode[]) => client.take(batch));
  worker.on('error', (error) => client.take([{ kind: 'fatal', error: fatalOf(error) }]));
  worker.on('exit', () => {
    stopFollowing();
    client.ended(new ShoalError('unavailable', 'the thread of consensus has ended'));
  });
  await client.started;
  return client;
}

/** The same without a thread: for tests, and where memory counts more than heartbeats. */
export async function startInlineConsensus(options: ConsensusOptions): Promise<ConsensusClient> {
  // Where a thread of its own runs the node, this one needs none of its modules.
  const { runNode } = await import('./run-node.ts');
  let running: RunningNode | undefined;
  const inbox: ToNode[][] = [];
  const client = new ConsensusClient(
    {
      post: (batch) => {
        if (running === undefined) inbox.push([...batch]);
        else running.take(batch);
      },
    },
    clientPorts(options, () => client.started),
  );
  running = await runNode(
    {
      folder: options.folder,
      kek: options.kek,
      listen: options.listen,
      advertise: options.advertise,
      config: configOf(options),
      identity: options.identity,
      log: options.log,
    },
    // As with a thread: never within the call that caused it.
    (batch) => setImmediate(() => client.take(batch)),
  );
  for (const batch of inbox) running.take(batch);
  await client.started;
  return client;
}

function configOf(options: ConsensusOptions): NodeConfig {
  const { start } = options;
  const nodeStart: NodeStart =
    start.kind === 'bootstrap'
      ? { ...start, state: [...options.stateMachine.snapshot()].map((one) => new Uint8Array(one)) }
      : start;
  return {
    start: nodeStart,
    clusterId: options.identity.current().holder.clusterId,
    timing: options.timing ?? DEFAULT_TIMING,
    compaction: options.compaction ?? DEFAULT_COMPACTION,
  };
}

function clientPorts(options: ConsensusOptions, started: () => Promise<string>) {
  let running = false;
  // A failure before the start is the start's own error.
  setImmediate(() => {
    started().then(
      () => {
        running = true;
      },
      () => undefined,
    );
  });
  return {
    stateMachine: options.stateMachine,
    clock: systemClock,
    defer: (fn: () => void) => void setImmediate(fn),
    fatal: (error: Error) => {
      if (running) options.fatal(error);
    },
    ...(options.readTimeoutMs === undefined ? {} : { readTimeoutMs: options.readTimeoutMs }),
  };
}

function fatalOf(error: unknown) {
  return {
    code: 'internal' as const,
    message: `consensus failed: ${messageOf(error)}`,
    leader: undefined,
  };
}
