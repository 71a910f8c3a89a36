import 'reflect-metadata'; // tsyringe does not load without it
import { watchFile } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { container, type InjectionToken, instanceCachingFactory as once } from 'tsyringe';
import { aborted } from '../shared/abort.ts';
import { sleep } from '../shared/clock.ts';
import { isShoalError, messageOf, ShoalError } from '../shared/errors.ts';
import {
  type JoinRaftRequest,
  type JoinRaftResponse,
  PeerService,
  type RaftMember,
} from '../shared/gen/shoal/v1/peer.ts';
import { StoreTransaction } from '../shared/gen/shoal/v1/store.ts';
import { newId } from '../shared/ids.ts';
import { consoleLog } from '../shared/io/console-log.ts';
import { trimWhenIdle } from '../shared/io/idle-trim.ts';
import { systemClock, systemRandom } from '../shared/io/system.ts';
import type { Log } from '../shared/log.ts';
import type { ManagerStart } from '../shared/manager-start.ts';
import { IdentityHolder } from '../shared/pki/identity.ts';
import {
  IDENTITY_FILE,
  isIdentityLockedBy,
  readIdentity,
} from '../shared/pki/io/identity-files.ts';
import { rootDigest } from '../shared/pki/io/x509.ts';
import { parseUnlockKey } from '../shared/pki/unlock-key.ts';
import { clusterCredentials, openChannel, unary } from '../shared/rpc/io/client.ts';
import { RpcServer } from '../shared/rpc/io/server.ts';
import { runAllocator } from './allocator/runner.ts';
import { localRoots } from './ca/io/roots.ts';
import { runRootRotation } from './ca/rotation.ts';
import { type ClusterVersionsDeps, clusterVersions } from './cluster-versions.ts';
import { bootstrapObjects } from './control/bootstrap.ts';
import { Control } from './control/control.ts';
import { restoredObjects } from './control/restored.ts';
import { superviseLeadership } from './leadership.ts';
import { LogLock } from './log-lock.ts';
import type { LeaderDeps } from './loop.ts';
import { announceAddresses } from './members/announce.ts';
import { runOrchestrator } from './orchestrator/runner.ts';
import { DEFAULT_COMPACTION } from './raft/compaction.ts';
import type { Consensus } from './raft/consensus.ts';
import type { ConsensusClient } from './raft/consensus-client.ts';
import { logOpens, readLogOwner } from './raft/io/log-owner.ts';
import { type ConsensusStart, startWorkerConsensus } from './raft/io/start.ts';
import { createManagerServices } from './rpc/io/services.ts';
import { runScheduler } from './scheduler/runner.ts';
import { Store } from './store/store.ts';
import { StoreWriter } from './store/writer.ts';

const POLL_CERTIFICATE_MS = 1_000;
const JOIN_RETRY_MS = 500;
const JOIN_WITHIN_MS = 20_000;
const JOIN_PATIENCE_MS = 30_000;
/**
 * A member that was removed answers for so long: the leader that removed it may fall before it has written down
 * that this was committed, and then needs its vote once more. It does so within two ticks.
 */
const REMOVED_LINGER_MS = 1_000;
const READY_WITHIN_MS = 10_000;
const TRANSFER_WITHIN_MS = 2_000;

const token = <T>(name: string) => Symbol(name) as InjectionToken<T>; // keeps T through resolve()
const START = token<ManagerStart>('Start');
const LOG = token<Log>('Log');
const IDENTITY = token<IdentityHolder>('Identity');
const STORE = token<Store>('Store');
const CONSENSUS = token<Consensus>('Consensus');
const WRITER = token<StoreWriter>('Writer');
const CONTROL = token<Control>('Control');

container.register(LOG, {
  useFactory: once((c) =>
    consoleLog('info', { program: 'manager', node: c.resolve(START).nodeId }),
  ),
});
container.register(STORE, { useFactory: once(() => new Store()) });
container.register(WRITER, {
  useFactory: once(
    (c) =>
      new StoreWriter({
        consensus: c.resolve(CONSENSUS),
        store: c.resolve(STORE),
        clock: systemClock,
        random: systemRandom,
      }),
  ),
});
container.register(CONTROL, {
  useFactory: once(
    (c) =>
      new Control({
        store: c.resolve(STORE),
        writer: c.resolve(WRITER),
        consensus: c.resolve(CONSENSUS),
        clock: systemClock,
        random: systemRandom,
        log: c.resolve(LOG),
        rootDigest,
        roots: localRoots,
      }),
  ),
});

/** A new cluster's log begins with a snapshot of this state, at this index. */
const BOOTSTRAP_INDEX = 1;

/** Puts the first objects of a new cluster into the store, which the log's first snapshot is made of. */
function bootstrapStart(start: ManagerStart): ConsensusStart | undefined {
  if (start.mode.kind !== 'bootstrap') return undefined;
  const raftId = newId(systemRandom);
  const actions = bootstrapObjects({
    start,
    bootstrap: start.mode.bootstrap,
    raftId,
    random: systemRandom,
  });
  const transaction = StoreTransaction.fromPartial({
    id: newId(systemRandom),
    atMs: systemClock.now(),
    actions,
  });
  container.resolve(STORE).apply(BOOTSTRAP_INDEX, StoreTransaction.encode(transaction).finish());
  return { kind: 'bootstrap', member: memberOf(start, raftId), index: BOOTSTRAP_INDEX };
}

/** The state of a backup, then a log that begins above it: versions of objects only ever grow. */
function restoreStart(start: ManagerStart): ConsensusStart | undefined {
  if (start.mode.kind !== 'restore') return undefined;
  const { index, chunks, hostname } = start.mode.restore;
  const store = container.resolve(STORE);
  store.restore(
    index,
    chunks.map((chunk) => Buffer.from(chunk, 'base64')),
  );
  const raftId = newId(systemRandom);
  const transaction = StoreTransaction.fromPartial({
    id: newId(systemRandom),
    atMs: systemClock.now(),
    actions: restoredObjects(store, start, raftId, hostname),
  });
  store.apply(index + 1, StoreTransaction.encode(transaction).finish());
  return { kind: 'bootstrap', member: memberOf(start, raftId), index: index + 1 };
}

function memberOf(start: ManagerStart, raftId: string): RaftMember {
  return {
    raftId,
    nodeId: start.nodeId,
    address: start.advertiseAddress,
    raftAddress: start.raftAdvertiseAddress,
  };
}

/** How this manager begins. The log of a member that was removed is deleted: it joins as a new one. */
async function beginning(
  start: ManagerStart,
  folder: string,
  identity: IdentityHolder,
  log: Log,
  signal: AbortSignal,
): Promise<ConsensusStart> {
  const owner = readLogOwner(folder);
  if (start.mode.kind === 'force-new') {
    if (owner === undefined || owner.removed) {
      throw new ShoalError(
        'failed-precondition',
        'there is no Raft log of a member to go on from: run --force-new-cluster on another manager',
      );
    }
    return { kind: 'force-new', member: memberOf(start, owner.raftId) };
  }
  if (owner !== undefined && !owner.removed) return { kind: 'restart' };
  if (owner !== undefined) {
    log.warn('this manager was removed: its log is deleted', { raftId: owner.raftId });
    await rm(folder, { recursive: true });
  }
  return (
    bootstrapStart(start) ?? restoreStart(start) ?? (await joinStart(start, identity, log, signal))
  );
}

/** Asks the managers there are to add this one, until one does; not for ever: others may be known by then. */
async function joinStart(
  start: ManagerStart,
  identity: IdentityHolder,
  log: Log,
  signal: AbortSignal,
): Promise<ConsensusStart> {
  const remotes = start.mode.kind === 'run' ? start.mode.remotes : [];
  if (remotes.length === 0)
    throw new Error('there is no Raft log, and no manager is known to join by');
  const request = {
    nodeId: start.nodeId,
    address: start.advertiseAddress,
    raftAddress: start.raftAdvertiseAddress,
    raftId: '',
  };
  const untilMs = systemClock.monotonicMs() + JOIN_PATIENCE_MS;
  while (systemClock.monotonicMs() < untilMs) {
    for (const target of remotes) {
      try {
        const answer = await joinAt(identity, target, request, signal);
        const members = answer.members.filter(({ raftId }) => raftId !== answer.raftId);
        return { kind: 'join', member: memberOf(start, answer.raftId), members };
      } catch (error) {
        if (!isShoalError(error) || signal.aborted) throw error;
        log.warn('cannot join the managers yet', { manager: target, error: messageOf(error) });
      }
    }
    await sleep(systemClock, JOIN_RETRY_MS, signal);
  }
  throw new ShoalError('unavailable', `none of the managers added this one: ${remotes.join(', ')}`);
}

async function joinAt(
  identity: IdentityHolder,
  target: string,
  request: JoinRaftRequest,
  signal: AbortSignal,
): Promise<JoinRaftResponse> {
  const channel = openChannel(target, clusterCredentials(identity));
  try {
    const options = { signal, deadlineMs: JOIN_WITHIN_MS };
    return await unary(channel, PeerService.joinRaft, request, options);
  } finally {
    channel.close();
  }
}

async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.once(name, () => stop.abort(new Error(name)));
  const start = JSON.parse(await text(process.stdin)) as ManagerStart;
  container.register(START, { useValue: start });
  const log = container.resolve(LOG);
  const kek = start.unlockKey === undefined ? undefined : parseUnlockKey(start.unlockKey);
  const identity = new IdentityHolder(await readIdentity(start.certificateDir, kek));
  container.register(IDENTITY, { useValue: identity });
  followCertificate(start.certificateDir, identity, kek, log);

  await using cleanup = new AsyncDisposableStack();
  const store = container.resolve(STORE);
  const folder = join(start.stateDir, 'raft');
  const consensus = await startWorkerConsensus({
    folder,
    ...(kek === undefined ? {} : { kek }),
    listen: start.raftListenAddress,
    advertise: start.raftAdvertiseAddress,
    identity,
    start: await beginning(start, folder, identity, log, stop.signal),
    stateMachine: store,
    log: log.with({ part: 'raft' }),
    fatal: die,
  });
  container.register(CONSENSUS, { useValue: consensus });
  cleanup.defer(() => consensus.close());
  consensus.onStatus(({ removed }) => {
    // Started anew it deletes its log, and joins again if its node is still a manager's.
    if (removed) stop.abort(new Error('removed from the managers'));
  });

  const writer = container.resolve(WRITER);
  // Services answer of this replica: it must have caught up with what it is a member of.
  await consensus
    .readBarrier(AbortSignal.any([stop.signal, AbortSignal.timeout(READY_WITHIN_MS)]))
    .catch((error) => {
      log.warn('no leader yet', { error: messageOf(error) });
    });
  const logLock = new LogLock(
    { store, consensus, clock: systemClock },
    {
      logOpens: (key) => logOpens(folder, key),
      setKek: (key) => consensus.setKek(key),
      isTlsLockedBy: (key) => isIdentityLockedBy(start.certificateDir, key),
    },
    kek,
  );
  const services = createManagerServices({
    identity,
    store,
    writer,
    consensus,
    control: container.resolve(CONTROL),
    clock: systemClock,
    random: systemRandom,
    log,
    tlsKeys: (signal) => logLock.tlsKeys(signal),
  });
  const server = new RpcServer({ identity, log });
  services.register(server);
  const ending = new AbortController();
  const running = services.run(ending.signal);
  const deps: LeaderDeps = { store, writer, clock: systemClock, random: systemRandom, log };
  const leading = superviseLeadership(
    consensus,
    [
      ...services.leaderLoops,
      {
        name: 'root-rotation',
        run: (signal) => runRootRotation(deps, rootDigest, signal),
      },
      { name: 'allocator', run: (signal) => runAllocator(deps, signal) },
      { name: 'orchestrator', run: (signal) => runOrchestrator(deps, signal) },
      { name: 'scheduler', run: (signal) => runScheduler(deps, signal) },
    ],
    systemClock,
    log,
    ending.signal,
  );
  const announcing = announceAddresses(
    {
      consensus,
      nodeId: start.nodeId,
      address: start.advertiseAddress,
      raftAddress: start.raftAdvertiseAddress,
      remotes: start.mode.kind === 'run' ? start.mode.remotes : [],
      joinHere: (request, signal) => services.members.join(request, signal),
      joinAt: (target, request, signal) => joinAt(identity, target, request, signal),
      clock: systemClock,
      log,
    },
    ending.signal,
  );
  const following = Promise.all([
    followCompaction({ store, consensus, clock: systemClock }, consensus, ending.signal),
    logLock.run(ending.signal),
  ]);
  await server.listen(start.listenAddress);
  await server.listenLocal(start.socketPath);
  trimWhenIdle();
  log.info('manager is up', { address: start.advertiseAddress });

  await aborted(stop.signal);
  log.info('manager stops');
  // The others need not wait for an election when the leader says that it goes.
  if (consensus.status().isLeader && consensus.status().members.length > 1) {
    await consensus
      .transferLeadership(undefined, AbortSignal.timeout(TRANSFER_WITHIN_MS))
      .catch((error) => {
        log.warn('cannot hand over leadership', { error: messageOf(error) });
      });
  }
  ending.abort(new Error('the manager stops'));
  await Promise.all([leading, running, announcing, following]);
  await server.close();
  if (consensus.status().removed) await sleep(systemClock, REMOVED_LINGER_MS);
}

/** How often the log is cut is the cluster's to say. */
async function followCompaction(
  deps: ClusterVersionsDeps,
  consensus: ConsensusClient,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const { spec } of clusterVersions(deps, signal)) {
      if (spec === undefined) continue;
      consensus.setCompaction({
        snapshotEveryEntries: spec.snapshotInterval || DEFAULT_COMPACTION.snapshotEveryEntries,
        trailingEntries: spec.logEntriesForSlowFollowers,
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The agent renews the certificate; it is used from the next connection on. */
function followCertificate(
  dir: string,
  identity: IdentityHolder,
  kek: Uint8Array | undefined,
  log: Log,
): void {
  watchFile(join(dir, IDENTITY_FILE), { interval: POLL_CERTIFICATE_MS }, () => {
    const current = container.resolve(STORE).cluster()?.unlockKey;
    readIdentity(dir, current !== undefined && current.length > 0 ? current : kek).then(
      (fresh) => identity.replace(fresh),
      (error) => log.error('cannot read the new certificate', { error: messageOf(error) }),
    );
  });
}

function die(error: Error): never {
  process.stderr.write(`shoal-manager: ${error.stack ?? error.message}\n`);
  process.exit(1);
}

try {
  await main();
  process.exit(0);
} catch (error) {
  die(error instanceof Error ? error : new Error(messageOf(error)));
}
