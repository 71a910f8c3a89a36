import { messageOf } from '../../../shared/errors.ts';
import type { ClusterInfo } from '../../../shared/gen/shoal/v1/control.ts';
import { imageSizes } from '../../image/sizes.ts';
import type { Container } from '../../runtime/types.ts';
import type { EngineDeps } from '../deps.ts';
import { type Call, json, type Reply } from '../http.ts';
import { clusterJson } from '../json/cluster.ts';
import { containerSummaryJson } from '../json/container.ts';
import { imageSummaryJson } from '../json/image.ts';
import { volumeJson } from '../json/volume.ts';
import type { Route } from '../router.ts';
import type { NodeStanding } from '../types.ts';
import { API_VERSION, ENGINE_VERSION, MIN_API_VERSION } from '../version.ts';
import { authenticate } from './auth.ts';
import { withDeadline } from './common.ts';
import { volumeUsers } from './volumes.ts';

/** How long `docker info` waits for a manager that may have lost its quorum. */
const CLUSTER_INFO_MS = 3000;

export function systemRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /_ping', () => ping(deps.membership.standing(), 'OK')],
    ['HEAD /_ping', () => ping(deps.membership.standing(), '')],
    ['GET /version', () => json(versionJson(deps))],
    ['GET /info', async (call) => json(await infoJson(deps, call.signal))],
    ['GET /system/df', async (call) => json(await diskUsageJson(deps, call))],
    ['POST /auth', (call) => authenticate(deps.clock, call)],
  ];
}

/** The `Swarm` header of a ping. */
export function swarmHeader(standing: NodeStanding): string {
  if (standing.localState !== 'active') return standing.localState;
  return standing.isManager ? 'active/manager' : 'active/worker';
}

function ping(standing: NodeStanding, body: string): Reply {
  return {
    kind: 'text',
    status: 200,
    body,
    contentType: 'text/plain; charset=utf-8',
    headers: {
      'Builder-Version': '1',
      Swarm: swarmHeader(standing),
      'Cache-Control': 'no-cache, no-store, must-revalidate',
      Pragma: 'no-cache',
    },
  };
}

function versionJson({ host }: EngineDeps) {
  return {
    Platform: { Name: `Shoal ${host.shoalVersion}` },
    Components: [
      {
        Name: 'Engine',
        Version: ENGINE_VERSION,
        Details: {
          ApiVersion: API_VERSION,
          MinAPIVersion: MIN_API_VERSION,
          Arch: host.architecture,
          Os: 'linux',
          KernelVersion: host.kernelVersion,
          Experimental: 'false',
          GitCommit: `shoal-${host.shoalVersion}`,
          GoVersion: '',
          BuildTime: '',
        },
      },
      { Name: 'containerd', Version: host.containerdVersion, Details: { GitCommit: '' } },
      { Name: 'runc', Version: host.runcVersion, Details: { GitCommit: '' } },
    ],
    Version: ENGINE_VERSION,
    ApiVersion: API_VERSION,
    MinAPIVersion: MIN_API_VERSION,
    GitCommit: `shoal-${host.shoalVersion}`,
    GoVersion: '',
    Os: 'linux',
    Arch: host.architecture,
    KernelVersion: host.kernelVersion,
    BuildTime: '',
  };
}

async function infoJson(deps: EngineDeps, signal: AbortSignal) {
  const { host, runtime, images, membership, clock } = deps;
  const warnings: string[] = [];
  const tolerate = (error: unknown): readonly never[] => {
    warnings.push(`WARNING: ${messageOf(error)}`);
    return [];
  };
  const standing = membership.standing();
  warnings.push(...standing.warnings.map((warning) => `WARNING: ${warning}`));
  const [containers, allImages, swarm] = await Promise.all([
    runtime.list().catch(tolerate),
    images.list().catch(tolerate),
    swarmInfoJson(deps, standing, signal),
  ]);
  const count = (status: Container['state']['status']) =>
    containers.filter(({ state }) => state.status === status).length;
  const running = count('running');
  const paused = count('paused');
  return {
    ID: standing.nodeId,
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: containers.length - running - paused,
    Images: allImages.length,
    Driver: 'overlayfs',
    DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']],
    Plugins: {
      Volume: ['local'],
      Network: ['host', 'null', 'overlay'],
      Authorization: null,
      Log: ['json-file'],
    },
    MemoryLimit: true,
    SwapLimit: false,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: false,
    CPUSet: false,
    PidsLimit: true,
    IPv4Forwarding: true,
    Debug: false,
    NFd: 0,
    OomKillDisable: false,
    NGoroutines: 0,
    SystemTime: new Date(clock.now()).toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: String(host.cgroupVersion),
    NEventsListener: 0,
    KernelVersion: host.kernelVersion,
    OperatingSystem: host.operatingSystem,
    OSVersion: host.osVersion,
    OSType: 'linux',
    Architecture: host.machine,
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
      InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8'],
      IndexConfigs: {
        'docker.io': { Name: 'docker.io', Mirrors: [], Secure: true, Official: true },
      },
      Mirrors: null,
    },
    NCPU: host.cpus,
    MemTotal: host.memoryBytes,
    GenericResources: null,
    DockerRootDir: host.stateDirectory,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: host.hostname,
    Labels: [],
    ExperimentalBuild: false,
    ServerVersion: ENGINE_VERSION,
    Runtimes: { runc: { path: 'runc' } },
    DefaultRuntime: 'runc',
    Swarm: swarm,
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: 'tini',
    ContainerdCommit: { ID: host.containerdVersion },
    RuncCommit: { ID: host.runcVersion },
    InitCommit: { ID: '' },
    SecurityOptions: ['name=seccomp,profile=builtin'],
    CDISpecDirs: null,
    Warnings: warnings.length > 0 ? warnings : null,
  };
}

async function swarmInfoJson(deps: EngineDeps, standing: NodeStanding, signal: AbortSignal) {
  let error = '';
  let info: ClusterInfo | undefined;
  if (standing.localState === 'active' && standing.isManager) {
    try {
      info = await withDeadline(deps.clock, CLUSTER_INFO_MS, signal, (limited) =>
        deps.membership.clusterInfo(limited),
      );
    } catch (cause) {
      error = `rpc error: code = Unavailable desc = ${messageOf(cause)}`;
    }
  }
  const cluster = info?.cluster;
  return {
    NodeID: standing.nodeId,
    NodeAddr: standing.nodeAddress,
    LocalNodeState: standing.localState,
    ControlAvailable: standing.localState === 'active' && standing.isManager,
    Error: error,
    RemoteManagers:
      standing.remoteManagers.length === 0
        ? null
        : standing.remoteManagers.map(({ nodeId, address }) => ({ NodeID: nodeId, Addr: address })),
    ...(info && { Nodes: info.nodes, Managers: info.managers }),
    ...(cluster && {
      Cluster: clusterJson(cluster),
    }),
  };
}

async function diskUsageJson(deps: EngineDeps, call: Call) {
  const types = call.query.getAll('type');
  const wanted = (type: string) => types.length === 0 || types.includes(type);
  const [containers, images, volumes] = await Promise.all([
    deps.runtime.list(),
    deps.images.list(),
    deps.volumes.list(),
  ]);
  const now = deps.clock.now();
  const users = (imageId: string) =>
    containers.filter(({ config }) => config.imageId === imageId).length;
  const sizes = imageSizes(images);
  const containerUsage = async (one: Container) => {
    const { id, imageId } = one.config;
    const writtenBytes = await deps.runtime.writtenBytes(id).catch(() => 0); // it is gone by now
    const imageBytes = images.find((image) => image.id === imageId)?.sizeBytes ?? 0;
    const summary = containerSummaryJson(one, now, undefined);
    return { ...summary, SizeRw: writtenBytes, SizeRootFs: imageBytes + writtenBytes };
  };
  return {
    LayersSize: sizes.totalBytes,
    Images: wanted('image')
      ? images.map((image) => ({
          ...imageSummaryJson(image, users(image.id)),
          SharedSize: sizes.sharedBytes.get(image.id) ?? 0,
        }))
      : [],
    Containers: wanted('container')
      ? await Promise.all(containers.map((one) => containerUsage(one)))
      : [],
    Volumes: wanted('volume')
      ? await Promise.all(
          volumes.map(async (volume) => ({
            ...volumeJson(volume),
            UsageData: {
              Size: await deps.volumes.sizeBytes(volume.name).catch(() => -1),
              RefCount: volumeUsers(containers, volume.name).length,
            },
          })),
        )
      : [],
    BuildCache: [],
  };
}
