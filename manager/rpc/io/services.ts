import type { Clock } from '../../../shared/clock.ts';
import { ShoalError } from '../../../shared/errors.ts';
import { CertificateAuthorityService } from '../../../shared/gen/shoal/v1/ca.ts';
import { ControlService } from '../../../shared/gen/shoal/v1/control.ts';
import { DispatcherService } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../../shared/log.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import type { Random } from '../../../shared/random.ts';
import {
  handleBidi,
  handleServerStream,
  handleUnary,
  type RpcServer,
} from '../../../shared/rpc/io/server.ts';
import { Autoscaler } from '../../autoscaler/autoscaler.ts';
import { decide } from '../../autoscaler/decide.ts';
import { createOutsideReader } from '../../autoscaler/sources/io/outside-reader.ts';
import { CertificateAuthority } from '../../ca/authority.ts';
import { localSigner } from '../../ca/io/signer.ts';
import { type BackupDeps, backup } from '../../control/backup.ts';
import type { Control } from '../../control/control.ts';
import { Dispatcher } from '../../dispatcher/dispatcher.ts';
import { factsOf, touchesFacts } from '../../dispatcher/facts.ts';
import { LeaderLiveness } from '../../dispatcher/leader-liveness.ts';
import { LogBroker } from '../../logs/broker.ts';
import { runMembers } from '../../members/loop.ts';
import { Members } from '../../members/members.ts';
import type { Consensus, StateMachine } from '../../raft/consensus.ts';
import type { WatchableStore, Writer } from '../../store/types.ts';
import { Guard } from '../guard.ts';
import { leaderLink, leaderSide } from '../leader-link.ts';
import { ManagerChannels } from './manager-channels.ts';
import { Methods } from './methods.ts';

export type ManagerServicesDeps = Readonly<{
  identity: IdentitySource;
  store: WatchableStore & Pick<StateMachine, 'snapshot'>;
  writer: Writer;
  consensus: Consensus;
  control: Control;
  clock: Clock;
  random: Random;
  log: Log;
  /** What locks the TLS key of this host, and what takes its place; undefined for nothing. */
  tlsKeys: (signal: AbortSignal) => AsyncIterable<Uint8Array | undefined>;
}>;

/** On the wire. */
const NO_KEY = new Uint8Array(0);

type LeaderLoop = Readonly<{ name: string; run: (signal: AbortSignal) => Promise<void> }>;

export type ManagerServices = Readonly<{
  /** Puts all services on the server; before it listens. */
  register(server: RpcServer): void;
  /** To be run while this manager leads; each ends when its signal aborts. */
  leaderLoops: readonly LeaderLoop[];
  /** To be run as long as the manager: sessions, reports to the leader. Ends all streams with the signal. */
  run(signal: AbortSignal): Promise<void>;
  dispatcher: Dispatcher;
  liveness: LeaderLiveness;
  members: Members;
  authority: CertificateAuthority;
  logs: LogBroker;
}>;

/** The gRPC face of a manager, put together. */
export function createManagerServices(deps: ManagerServicesDeps): ManagerServices {
  const { identity, store, writer, consensus, control, clock, random, log } = deps;
  const { nodeId, clusterId } = identity.current().holder;
  const stop = new AbortController();
  const channels = new ManagerChannels(identity);
  const liveness = new LeaderLiveness({
    store,
    writer,
    clock,
    log: log.with({ part: 'liveness' }),
  });
  const members = new Members({
    store,
    writer,
    consensus,
    clock,
    random,
    log: log.with({ part: 'members' }),
  });
  const authority = new CertificateAuthority({
    store,
    writer,
    signer: localSigner,
    clock,
    random,
    log: log.with({ part: 'ca' }),
  });
  const autoscalerLog = log.with({ part: 'autoscaler' });
  const autoscaler = new Autoscaler({
    store,
    writer,
    clock,
    random,
    log: autoscalerLog,
    decide,
    openOutside: () => createOutsideReader({ store, clock, random, log: autoscalerLog }),
  });
  const side = leaderSide(writer, liveness, autoscaler, (networkIds) =>
    dispatcher.followers(networkIds),
  );
  const dispatcher = new Dispatcher({
    nodeId,
    store,
    consensus,
    leader: leaderLink(consensus, side, channels),
    clock,
    random,
    log: log.with({ part: 'dispatcher' }),
  });
  const logs = new LogBroker({
    nodeId,
    store,
    sessions: dispatcher,
    peers: channels,
    clock,
    random,
    log: log.with({ part: 'logs' }),
  });
  const guard = new Guard({ store, consensus, clusterId });
  const methods = new Methods({ nodeId, guard, channels, consensus, clock, stop: stop.signal });

  function register(server: RpcServer): void {
    server.serve(CONTROL_ON_SERVER, controlHandlers(methods, { control, autoscaler, logs }, deps));
    server.serve(DISPATCHER_ON_SERVER, dispatcherHandlers(methods, dispatcher, logs));
    server.serve(CertificateAuthorityService, authorityHandlers(methods, authority));
    server.serve(PeerService, peerHandlers(methods, { members, side, logs }));
  }

  async function run(signal: AbortSignal): Promise<void> {
    const unsubscribe = store.onCommit((batch) => {
      if (!touchesFacts(batch)) return;
      channels.keepOnly(new Set(factsOf(store).managers.map(({ address }) => address)));
    });
    try {
      await dispatcher.run(signal);
    } finally {
      unsubscribe();
      stop.abort(new ShoalError('unavailable', 'this manager stops: use another one'));
      channels.close();
    }
  }

  return {
    register,
    run,
    leaderLoops: [
      { name: 'liveness', run: (signal) => liveness.run(signal) },
      { name: 'autoscaler', run: (signal) => autoscaler.run(signal) },
      { name: 'members', run: (signal) => runMembers({ members, store, clock }, signal) },
    ],
    dispatcher,
    liveness,
    members,
    authority,
    logs,
  };
}

/** The same service on the wire; the messages of a list are encoded already. */
const CONTROL_ON_SERVER = {
  ...ControlService,
  list: {
    ...ControlService.list,
    responseSerialize: (bytes: Buffer): Buffer => bytes,
    responseDeserialize: (bytes: Buffer): Buffer => bytes,
  },
} as const;

function controlHandlers(
  methods: Methods,
  {
    control,
    autoscaler,
    logs,
  }: Readonly<{
    control: Control;
    autoscaler: Autoscaler;
    logs: LogBroker;
  }>,
  deps: BackupDeps & Pick<ManagerServicesDeps, 'tlsKeys'>,
) {
  const path = {
    get: ControlService.get.path,
    list: ControlService.list.path,
    getCluster: ControlService.getCluster.path,
    getUnlockKey: ControlService.getUnlockKey.path,
    watch: ControlService.watch.path,
    serviceLogs: ControlService.serviceLogs.path,
  };
  return {
    get: handleUnary(methods.here(path.get, (request, signal) => control.get(request, signal))),
    list: handleServerStream(
      methods.stream(path.list, async function* (request, signal) {
        yield* await control.listChunks(request, signal);
      }),
    ),
    create: handleUnary(
      methods.onLeader(ControlService.create, (request, signal) => control.create(request, signal)),
    ),
    update: handleUnary(
      methods.onLeader(ControlService.update, (request, signal) => control.update(request, signal)),
    ),
    remove: handleUnary(
      methods.onLeader(ControlService.remove, async (request, signal) => {
        await control.remove(request, signal);
        return {};
      }),
    ),
    getCluster: handleUnary(
      methods.here(path.getCluster, (request, signal) => control.getCluster(request, signal)),
    ),
    updateCluster: handleUnary(
      methods.onLeader(ControlService.updateCluster, (request, signal) =>
        control.updateCluster(request, signal),
      ),
    ),
    getUnlockKey: handleUnary(
      methods.here(path.getUnlockKey, (_request, signal) => control.getUnlockKey(signal)),
    ),
    followUnlockKey: handleServerStream(
      methods.stream(ControlService.followUnlockKey.path, async function* (_request, signal) {
        for await (const key of deps.tlsKeys(signal)) yield { key: Buffer.from(key ?? NO_KEY) };
      }),
    ),
    watch: handleServerStream(
      methods.stream(path.watch, (request, signal) => control.watch(request, signal)),
    ),
    getAutoscaling: handleUnary(
      methods.onLeader(ControlService.getAutoscaling, async (request, signal) => {
        await deps.consensus.readBarrier(signal);
        return autoscaler.describe(request);
      }),
    ),
    serviceLogs: handleServerStream(
      methods.stream(path.serviceLogs, async function* (request, signal) {
        await deps.consensus.readBarrier(signal);
        yield* logs.subscribe(request, signal);
      }),
    ),
    backup: handleServerStream(
      methods.stream(ControlService.backup.path, (_request, signal) => backup(deps, signal)),
    ),
  } satisfies Parameters<typeof RpcServer.prototype.serve<typeof CONTROL_ON_SERVER>>[1];
}

/**
 * The same service on the wire, with two differences on this side: sessions give messages (ManagerMessage) that are
 * encoded already, and a publication is answered while it still goes on when nobody reads it any more.
 */
const DISPATCHER_ON_SERVER = {
  session: {
    ...DispatcherService.session,
    responseSerialize: (bytes: Uint8Array): Buffer =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
  },
  publishLogs: { ...DispatcherService.publishLogs, responseStream: true as const },
} as const;

function dispatcherHandlers(methods: Methods, dispatcher: Dispatcher, logs: LogBroker) {
  const { session, publishLogs } = DISPATCHER_ON_SERVER;
  return {
    session: handleBidi(
      methods.stream(session.path, (requests, signal, { nodeId }) =>
        dispatcher.session(nodeId, requests, signal),
      ),
    ),
    publishLogs: handleBidi(
      methods.stream(publishLogs.path, async function* (publications, _signal, { nodeId }) {
        await logs.publish(nodeId, publications);
        yield {};
      }),
    ),
  } satisfies Parameters<typeof RpcServer.prototype.serve<typeof DISPATCHER_ON_SERVER>>[1];
}

function authorityHandlers(methods: Methods, authority: CertificateAuthority) {
  const service = CertificateAuthorityService;
  return {
    getRootCertificate: handleUnary(
      methods.here(service.getRootCertificate.path, () => authority.getRootCertificate()),
    ),
    issueNodeCertificate: handleUnary(
      methods.onLeader(service.issueNodeCertificate, (request, signal) =>
        authority.issue(request, signal),
      ),
    ),
    renewNodeCertificate: handleUnary(
      methods.onLeader(service.renewNodeCertificate, ({ csrPem }, signal, { nodeId }) =>
        authority.renew(nodeId, csrPem, signal),
      ),
    ),
    recoverNodeCertificate: handleUnary(
      methods.onLeader(service.recoverNodeCertificate, (request, signal) =>
        authority.recover(request, signal),
      ),
    ),
  } satisfies Parameters<typeof RpcServer.prototype.serve<typeof service>>[1];
}

type PeerDeps = Readonly<{
  members: Members;
  side: ReturnType<typeof leaderSide>;
  logs: LogBroker;
}>;

function peerHandlers(methods: Methods, { members, side, logs }: PeerDeps) {
  const own = (what: string, claimed: string, nodeId: string): void => {
    if (claimed === nodeId) return;
    const why = `${what}: node ${nodeId} cannot speak for node ${claimed}`;
    throw new ShoalError('permission-denied', why);
  };
  return {
    joinRaft: handleUnary(
      methods.onLeader(PeerService.joinRaft, async (request, signal, { nodeId }) => {
        own('node_id', request.nodeId, nodeId);
        return members.join(request, signal);
      }),
    ),
    leaveRaft: handleUnary(
      methods.onLeader(PeerService.leaveRaft, async (request, signal, { nodeId }) => {
        await members.leave(request.nodeId || nodeId, signal);
        return {};
      }),
    ),
    // These four are sent to the leader only, by managers that know it: they are not sent on.
    reportTaskStatuses: handleUnary(
      methods.here(PeerService.reportTaskStatuses.path, async (request, signal) => {
        await side.takeStatuses(request, signal);
        return {};
      }),
    ),
    reportLiveness: handleUnary(
      methods.here(PeerService.reportLiveness.path, (request, _signal, { nodeId }) => {
        own('manager_id', request.managerId, nodeId);
        side.takeDigest(request);
        return {};
      }),
    ),
    reportSamples: handleUnary(
      methods.here(PeerService.reportSamples.path, (request) => {
        side.takeSamples(request);
        return {};
      }),
    ),
    awaitApplied: handleUnary(
      methods.here(PeerService.awaitApplied.path, (request, signal) =>
        side.awaitApplied(request, signal),
      ),
    ),
    logs: handleServerStream(
      methods.stream(PeerService.logs.path, (request, signal) => logs.local(request, signal)),
    ),
  } satisfies Parameters<typeof RpcServer.prototype.serve<typeof PeerService>>[1];
}
