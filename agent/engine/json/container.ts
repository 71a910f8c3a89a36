import type { ImageConfig } from '../../image/types.ts';
import type {
  Container,
  ContainerConfig,
  ContainerEndpoint,
  ContainerMount,
  ContainerNetwork,
  ContainerState,
} from '../../runtime/types.ts';
import type { HealthView } from '../../task/health-book.ts';
import { humanDuration } from './human.ts';
import { healthcheckJson } from './image.ts';
import { rfc3339 } from './meta.ts';

/** Docker's word for where a container's network comes from. */
function networkMode(network: ContainerNetwork): string {
  if (network.mode !== 'netns') return network.mode;
  return network.endpoints[0]?.networkName ?? 'default';
}

export function endpointsOf(network: ContainerNetwork): readonly ContainerEndpoint[] {
  return network.mode === 'netns' ? network.endpoints : [];
}

/** "Up 3 seconds (healthy)", "Exited (137) 2 minutes ago". */
export function statusText(
  state: ContainerState,
  nowMs: number,
  health: HealthView | undefined = undefined,
): string {
  const since = (ms: number) => humanDuration(Math.max(0, nowMs - ms));
  switch (state.status) {
    case 'running':
      return `Up ${since(state.startedAtMs)}${healthText(health)}`;
    case 'paused':
      return `Up ${since(state.startedAtMs)} (Paused)`;
    case 'exited':
      return `Exited (${state.exitCode}) ${since(state.finishedAtMs)} ago`;
    case 'dead':
      return 'Dead';
    default:
      return 'Created';
  }
}

function healthText(health: HealthView | undefined): string {
  if (health === undefined) return '';
  return health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`;
}

/** One row of `GET /containers/json`. */
export function containerSummaryJson(
  { config, state }: Container,
  nowMs: number,
  image: ImageConfig | undefined,
  health: HealthView | undefined = undefined,
) {
  return {
    Id: config.id,
    Names: [`/${config.name}`],
    Image: config.image,
    ImageID: config.imageId,
    Command: [...config.entrypoint, ...config.cmd].join(' '),
    Created: Math.floor(config.createdAtMs / 1000),
    Ports: (image?.exposedPorts ?? []).map((port) => {
      const [number, protocol] = port.split('/');
      return { PrivatePort: Number(number), Type: protocol ?? 'tcp' };
    }),
    Labels: config.labels,
    State: state.status,
    Status: statusText(state, nowMs, health),
    HostConfig: { NetworkMode: networkMode(config.network) },
    NetworkSettings: { Networks: networksJson(config) },
    Mounts: config.mounts.filter((mount) => mount.type !== 'tmpfs').map(mountPointJson),
  };
}

/** `GET /containers/{id}/json`. */
export function containerJson(
  { config, state }: Container,
  image: ImageConfig | undefined,
  health: HealthView | undefined = undefined,
) {
  const [path = '', ...args] = [...config.entrypoint, ...config.cmd];
  const exposed = image?.exposedPorts ?? [];
  const [endpoint] = endpointsOf(config.network);
  return {
    Id: config.id,
    Created: rfc3339(config.createdAtMs),
    Path: path,
    Args: args,
    State: {
      Status: state.status,
      Running: state.status === 'running' || state.status === 'paused',
      Paused: state.status === 'paused',
      Restarting: false,
      OOMKilled: state.oomKilled,
      Dead: state.status === 'dead',
      Pid: state.pid,
      ExitCode: state.exitCode,
      Error: state.error,
      StartedAt: rfc3339(state.startedAtMs),
      FinishedAt: rfc3339(state.finishedAtMs),
      ...(health && { Health: healthJson(health) }),
    },
    Image: config.imageId,
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: '',
    Name: `/${config.name}`,
    RestartCount: 0,
    Driver: 'overlayfs',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: hostConfigJson(config),
    GraphDriver: { Name: 'overlayfs', Data: null },
    Mounts: config.mounts.filter((mount) => mount.type !== 'tmpfs').map(mountPointJson),
    Config: {
      Hostname: config.hostname,
      Domainname: '',
      User: config.user,
      AttachStdin: false,
      AttachStdout: false,
      AttachStderr: false,
      ...(exposed.length > 0 && {
        ExposedPorts: Object.fromEntries(exposed.map((port) => [port, {}])),
      }),
      Tty: config.tty,
      OpenStdin: config.openStdin,
      StdinOnce: false,
      Env: config.env,
      Cmd: config.cmd.length > 0 ? config.cmd : null,
      ...(health && { Healthcheck: healthcheckJson(health.check) }),
      Image: config.image,
      Volumes: null,
      WorkingDir: config.workingDir,
      Entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
      OnBuild: null,
      Labels: config.labels,
      ...(config.stopSignal !== '' && { StopSignal: config.stopSignal }),
      StopTimeout: Math.ceil(config.stopGraceMs / 1000),
    },
    NetworkSettings: {
      Bridge: '',
      SandboxID: config.id,
      SandboxKey: config.network.mode === 'netns' ? config.network.path : '',
      Ports: Object.fromEntries(exposed.map((port) => [port, null])),
      HairpinMode: false,
      LinkLocalIPv6Address: '',
      LinkLocalIPv6PrefixLen: 0,
      SecondaryIPAddresses: null,
      SecondaryIPv6Addresses: null,
      EndpointID: '',
      Gateway: '',
      GlobalIPv6Address: '',
      GlobalIPv6PrefixLen: 0,
      IPAddress: '',
      IPPrefixLen: 0,
      IPv6Gateway: '',
      MacAddress: endpoint?.macAddress ?? '',
      Networks: networksJson(config),
    },
  };
}

function healthJson({ status, failingStreak, log }: HealthView) {
  return {
    Status: status,
    FailingStreak: failingStreak,
    Log: log.map((probe) => ({
      Start: rfc3339(probe.startedAtMs),
      End: rfc3339(probe.endedAtMs),
      ExitCode: probe.exitCode,
      Output: probe.output,
    })),
  };
}

function networksJson(config: ContainerConfig) {
  if (config.network.mode !== 'netns') {
    return { [config.network.mode]: endpointJson(config, undefined) };
  }
  return Object.fromEntries(
    config.network.endpoints.map((endpoint) => [
      endpoint.networkName,
      endpointJson(config, endpoint),
    ]),
  );
}

function endpointJson(config: ContainerConfig, endpoint: ContainerEndpoint | undefined) {
  const [address = '', prefix = '0'] = endpoint?.address.split('/') ?? [];
  return {
    IPAMConfig: endpoint === undefined ? null : { IPv4Address: address },
    Links: null,
    Aliases: endpoint?.aliases ?? null,
    MacAddress: endpoint?.macAddress ?? '',
    DriverOpts: null,
    GwPriority: 0,
    NetworkID: endpoint?.networkId ?? '',
    EndpointID: endpoint === undefined ? '' : config.id,
    Gateway: endpoint?.gateway ?? '',
    IPAddress: address,
    IPPrefixLen: Number(prefix),
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    DNSNames: endpoint === undefined ? null : [config.name, config.id.slice(0, 12)],
  };
}

function mountPointJson(mount: ContainerMount) {
  const common = { Type: mount.type, Destination: mount.target, RW: !mount.readOnly };
  switch (mount.type) {
    case 'bind':
      return {
        ...common,
        Source: mount.source,
        Mode: '',
        Propagation: mount.propagation || 'rprivate',
      };
    case 'volume':
      return {
        ...common,
        Name: mount.name,
        Source: mount.source,
        Driver: mount.driver || 'local',
        Mode: 'z',
        Propagation: '',
      };
    default:
      return { ...common, Source: '', Mode: '', Propagation: '' };
  }
}

function hostConfigMount(mount: ContainerMount) {
  return {
    Type: mount.type,
    ...(mount.type === 'bind' && { Source: mount.source }),
    ...(mount.type === 'volume' && { Source: mount.name }),
    Target: mount.target,
    ...(mount.readOnly && { ReadOnly: true }),
    ...(mount.type === 'tmpfs' && {
      TmpfsOptions: { SizeBytes: mount.sizeBytes, Mode: mount.mode },
    }),
  };
}

function hostConfigJson(config: ContainerConfig) {
  const { resources } = config;
  return {
    Binds: null,
    ContainerIDFile: '',
    LogConfig: {
      Type: 'json-file',
      Config: { 'max-size': String(config.logMaxBytes), 'max-file': String(config.logMaxFiles) },
    },
    NetworkMode: networkMode(config.network),
    PortBindings: {},
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    AutoRemove: false,
    VolumeDriver: '',
    VolumesFrom: null,
    ConsoleSize: [0, 0],
    CapAdd: config.capabilityAdd.length > 0 ? config.capabilityAdd : null,
    CapDrop: config.capabilityDrop.length > 0 ? config.capabilityDrop : null,
    CgroupnsMode: 'host',
    Dns: null,
    DnsOptions: null,
    DnsSearch: null,
    ExtraHosts: null,
    GroupAdd: config.groups.length > 0 ? config.groups : null,
    IpcMode: 'private',
    Cgroup: '',
    Links: null,
    OomScoreAdj: config.oomScoreAdj,
    PidMode: '',
    Privileged: false,
    PublishAllPorts: false,
    ReadonlyRootfs: config.readOnly,
    SecurityOpt: null,
    UTSMode: '',
    UsernsMode: '',
    ShmSize: 67_108_864,
    Sysctls: config.sysctls,
    Runtime: 'runc',
    Isolation: '',
    CpuShares: 0,
    Memory: resources.memoryBytes,
    NanoCpus: resources.nanoCpus,
    CgroupParent: '',
    MemoryReservation: resources.memoryReservationBytes,
    MemorySwap: 0,
    MemorySwappiness: null,
    OomKillDisable: null,
    PidsLimit: resources.pids > 0 ? resources.pids : null,
    Ulimits: config.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    Init: config.init,
    Mounts: config.mounts.map(hostConfigMount),
    MaskedPaths: null,
    ReadonlyPaths: null,
  };
}
