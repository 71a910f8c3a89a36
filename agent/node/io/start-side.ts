import { messageOf } from '../../../shared/errors.ts';
import { NodeDescription } from '../../../shared/gen/shoal/v1/objects.ts';
import { systemClock, systemRandom } from '../../../shared/io/system.ts';
import { CONTROL_PORT, type ManagerMode, RAFT_PORT } from '../../../shared/manager-start.ts';
import { joinHostPort } from '../../../shared/model/host-port.ts';
import { IdentityHolder, type TlsIdentity } from '../../../shared/pki/identity.ts';
import { tlsFacts } from '../../../shared/pki/io/trust.ts';
import { createIdentity, isIssuedByAny, parseCertificate } from '../../../shared/pki/io/x509.ts';
import { LogPublisher } from '../../logs/publisher.ts';
import { cgroupMounts } from '../../runtime/io/cgroup-files.ts';
import { grpcManagerLink } from '../../session/io/manager-link.ts';
import { ManagerDirectory } from '../../session/managers.ts';
import { AgentSession } from '../../session/session.ts';
import { ContainerReader } from '../../signals/io/container-reader.ts';
import { Signals } from '../../signals/signals.ts';
import { splitHostPort } from '../address.ts';
import { MemberSide } from '../member-side.ts';
import type { NodeRecord } from '../record.ts';
import { CertificateKeeper } from '../renewal.ts';
import { describeBy, type HostParts, hostWork } from './host-work.ts';
import { localManager } from './local-manager.ts';
import type { NodeStore } from './node-store.ts';
import { renewCertificate } from './renew.ts';

type SideParts = HostParts &
  Readonly<{
    store: NodeStore;
    /** Path of the manager's main file. */
    managerProgram: string;
    managerSocket: string;
    managerPidFile: string;
    /** The cluster removed this node: its membership ends. */
    dismissed: () => Promise<void>;
  }>;

/** Everything that runs because this host is in a cluster. */
export async function startSide(
  parts: SideParts,
  record: NodeRecord,
  tls: TlsIdentity,
  mode: ManagerMode,
): Promise<MemberSide> {
  const { flags, store, managerSocket: socketPath } = parts;
  const log = parts.log.with({ node: record.nodeId });
  const identity = new IdentityHolder(tls);
  const directory = new ManagerDirectory(record.nodeId, record.managers, systemRandom);
  const clock = systemClock;

  const advertised = splitHostPort(record.advertiseAddress, CONTROL_PORT);
  const listening = splitHostPort(record.listenAddress, CONTROL_PORT);
  const remotes = () =>
    directory
      .all()
      .filter(({ nodeId }) => nodeId !== record.nodeId)
      .map(({ address }) => address);
  let firstMode: ManagerMode | undefined = mode;
  const makeManager = () => {
    // What was asked for counts once: a manager of a later promotion joins those there are then.
    const begin = firstMode ?? { kind: 'run', remotes: remotes() };
    firstMode = undefined;
    return localManager({
      argv: [process.execPath, ...process.execArgv, parts.managerProgram],
      pidFile: parts.managerPidFile,
      start: {
        nodeId: record.nodeId,
        clusterId: record.clusterId,
        stateDir: store.managerDir,
        certificateDir: store.certificateDir,
        socketPath,
        listenAddress: record.listenAddress,
        advertiseAddress: record.advertiseAddress,
        raftListenAddress: joinHostPort(listening.host, RAFT_PORT),
        raftAdvertiseAddress: joinHostPort(advertised.host, RAFT_PORT),
      },
      mode: begin,
      identity,
      unlockKey: () => store.unlockKey,
      remotes,
      clock,
      log,
    });
  };

  const host = describeBy(flags, record.dataPathAddress);
  const description = () =>
    NodeDescription.fromPartial({ ...host, tls: tlsFacts(identity.current()) });
  const saved = async (fresh: TlsIdentity) => {
    await store.saveIdentity(fresh);
    return fresh;
  };
  const renew = async (signal: AbortSignal) =>
    saved(await renewCertificate(identity.current(), directory.targets(), signal));
  let side: MemberSide;
  const { tasks, dataPlane } = hostWork(parts, record, host, log, (taskId, status) =>
    session.report({ taskId, status }),
  );
  const session = new AgentSession({
    link: grpcManagerLink(identity),
    managers: directory,
    handler: MemberSide.handler(() => side),
    clock,
    random: systemRandom,
    log: log.with({ part: 'session' }),
    description: description(),
    address: advertised.host,
  });
  identity.onChange(() => session.describe(description()));
  const signals = new Signals({
    measured: () => tasks.measured(),
    reader: new ContainerReader(cgroupMounts(), flags.cgroupParent),
    pidOf: async (id) => (await parts.runtime.get(id))?.state.pid || undefined,
    meter: dataPlane,
    send: (samples) => session.sample(samples),
    clock,
    log: log.with({ part: 'signals' }),
  });
  const publisher = new LogPublisher({
    runtime: parts.runtime,
    session,
    nodeId: record.nodeId,
    find: (taskId) => {
      const containerId = tasks.containerOf(taskId);
      const serviceId = tasks.task(taskId)?.serviceId;
      return containerId === undefined || serviceId === undefined
        ? undefined
        : { containerId, serviceId };
    },
    log,
  });
  side = new MemberSide({
    record,
    makeManager,
    clearManager: () => store.clearManager(),
    lockBy: (key) => store.lockBy(key),
    localTarget: `unix://${socketPath}`,
    identity,
    session,
    managers: directory,
    tasks,
    dataPlane,
    publishLogs: (change) => publisher.handle(change),
    signals,
    renew,
    dismissed: () => {
      parts.dismissed().catch((error) => log.error('cannot leave', { error: messageOf(error) }));
    },
    certificates: new CertificateKeeper({
      identity,
      life: ({ certificatePem }) => parseCertificate(certificatePem),
      isIssuedBy: ({ certificatePem }, rootPem) => isIssuedByAny(certificatePem, rootPem),
      renew,
      trust: async (rootsPem) => {
        const { certificatePem, keyPem } = identity.current();
        return saved(createIdentity(certificatePem, keyPem, rootsPem));
      },
      clock,
      random: systemRandom,
      log,
    }),
    remember: (changed) => store.saveRecord(changed),
    clock,
    log,
  });
  await side.start();
  return side;
}
