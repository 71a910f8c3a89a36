import type {
  BindOptions,
  ConfigReference,
  ContainerSpec,
  DnsConfig,
  FileTarget,
  GenericResource,
  Healthcheck,
  LogDriver,
  Mount,
  NetworkAttachmentConfig,
  Placement,
  Platform,
  ResourceRequirements,
  Resources,
  RestartPolicy,
  SecretReference,
  TaskSpec,
  TmpfsOptions,
  Ulimit,
  VolumeOptions,
} from '../../../shared/gen/shoal/v1/objects.ts';
import {
  type Codec,
  flag,
  int32,
  int64,
  list,
  maybe,
  sparse,
  struct,
  text,
  textMap,
  texts,
  uint32,
  uint64,
  via,
} from '../codec.ts';

/** What a task is made from, as Docker's `TaskTemplate`. Judging values is the managers' work. */

const driverConfig = struct<{ name: string; options: { [key: string]: string } }>({
  name: ['Name', sparse(text)],
  options: ['Options', sparse(textMap)],
});

export const logDriver: Codec<LogDriver> = struct<LogDriver>({
  name: ['Name', sparse(text)],
  options: ['Options', sparse(textMap)],
});

const bindOptions = struct<BindOptions>(
  {
    propagation: ['Propagation', sparse(text)],
    nonRecursive: ['NonRecursive', sparse(flag)],
    createMountpoint: ['CreateMountpoint', sparse(flag)],
  },
  ['ReadOnlyNonRecursive', 'ReadOnlyForceRecursive'],
);

type WireVolume = Pick<VolumeOptions, 'noCopy' | 'labels' | 'subpath'> & {
  driver: { name: string; options: { [key: string]: string } } | undefined;
};
const volumeOptions: Codec<VolumeOptions> = via(
  struct<WireVolume>({
    noCopy: ['NoCopy', sparse(flag)],
    labels: ['Labels', sparse(textMap)],
    subpath: ['Subpath', sparse(text)],
    driver: ['DriverConfig', maybe(driverConfig)],
  }),
  ({ driver, ...rest }) => ({
    ...rest,
    driver: driver?.name ?? '',
    driverOptions: driver?.options ?? {},
  }),
  ({ driver, driverOptions, ...rest }) => ({
    ...rest,
    driver:
      driver === '' && Object.keys(driverOptions).length === 0
        ? undefined
        : { name: driver, options: driverOptions },
  }),
);

const tmpfsOptions = struct<TmpfsOptions>(
  { sizeBytes: ['SizeBytes', sparse(int64)], mode: ['Mode', sparse(uint32)] },
  ['Options'],
);

const mount = struct<Mount>(
  {
    type: ['Type', sparse(text)],
    source: ['Source', sparse(text)],
    target: ['Target', sparse(text)],
    readOnly: ['ReadOnly', sparse(flag)],
    consistency: ['Consistency', sparse(text)],
    bind: ['BindOptions', maybe(bindOptions)],
    volume: ['VolumeOptions', maybe(volumeOptions)],
    tmpfs: ['TmpfsOptions', maybe(tmpfsOptions)],
  },
  ['ImageOptions', 'ClusterOptions'],
);

const fileTarget = struct<FileTarget>({
  name: ['Name', text],
  uid: ['UID', text],
  gid: ['GID', text],
  mode: ['Mode', uint32],
});

const secretReference = struct<SecretReference>({
  file: ['File', maybe(fileTarget)],
  secretId: ['SecretID', text],
  secretName: ['SecretName', text],
});

const configReference = struct<ConfigReference>(
  {
    file: ['File', maybe(fileTarget)],
    configId: ['ConfigID', text],
    configName: ['ConfigName', text],
  },
  ['Runtime'],
);

const dnsConfig = struct<DnsConfig>({
  nameservers: ['Nameservers', sparse(texts)],
  search: ['Search', sparse(texts)],
  options: ['Options', sparse(texts)],
});

const healthcheck = struct<Healthcheck>({
  test: ['Test', sparse(texts)],
  intervalNs: ['Interval', sparse(int64)],
  timeoutNs: ['Timeout', sparse(int64)],
  startPeriodNs: ['StartPeriod', sparse(int64)],
  startIntervalNs: ['StartInterval', sparse(int64)],
  retries: ['Retries', sparse(int32)],
});

const ulimit = struct<Ulimit>({
  name: ['Name', text],
  hard: ['Hard', int64],
  soft: ['Soft', int64],
});

const shownContainerSpec = struct<Omit<ContainerSpec, 'registryAuth'>>(
  {
    image: ['Image', sparse(text)],
    labels: ['Labels', sparse(textMap)],
    command: ['Command', sparse(texts)],
    args: ['Args', sparse(texts)],
    hostname: ['Hostname', sparse(text)],
    env: ['Env', sparse(texts)],
    dir: ['Dir', sparse(text)],
    user: ['User', sparse(text)],
    groups: ['Groups', sparse(texts)],
    stopSignal: ['StopSignal', sparse(text)],
    tty: ['TTY', sparse(flag)],
    openStdin: ['OpenStdin', sparse(flag)],
    readOnly: ['ReadOnly', sparse(flag)],
    init: ['Init', maybe(flag)],
    mounts: ['Mounts', sparse(list(mount))],
    stopGracePeriodNs: ['StopGracePeriod', maybe(int64)],
    healthcheck: ['Healthcheck', maybe(healthcheck)],
    hosts: ['Hosts', sparse(texts)],
    dns: ['DNSConfig', maybe(dnsConfig)],
    secrets: ['Secrets', sparse(list(secretReference))],
    configs: ['Configs', sparse(list(configReference))],
    isolation: ['Isolation', sparse(text)],
    sysctls: ['Sysctls', sparse(textMap)],
    capabilityAdd: ['CapabilityAdd', sparse(texts)],
    capabilityDrop: ['CapabilityDrop', sparse(texts)],
    ulimits: ['Ulimits', sparse(list(ulimit))],
    oomScoreAdj: ['OomScoreAdj', sparse(int64)],
  },
  ['Privileges'],
);

/** A registry's credentials come in a header and are never shown: no JSON field is theirs. */
const containerSpec: Codec<ContainerSpec> = via(
  shownContainerSpec,
  (shown) => ({ ...shown, registryAuth: '' }),
  ({ registryAuth: _, ...shown }) => shown,
);

type WireGeneric = {
  named: { kind: string; value: string } | undefined;
  discrete: { kind: string; value: number } | undefined;
};
const genericResource: Codec<GenericResource> = via(
  struct<WireGeneric>({
    named: [
      'NamedResourceSpec',
      maybe(
        struct<{ kind: string; value: string }>({
          kind: ['Kind', sparse(text)],
          value: ['Value', sparse(text)],
        }),
      ),
    ],
    discrete: [
      'DiscreteResourceSpec',
      maybe(
        struct<{ kind: string; value: number }>({
          kind: ['Kind', sparse(text)],
          value: ['Value', sparse(int64)],
        }),
      ),
    ],
  }),
  ({ named, discrete }) => {
    if (discrete !== undefined) {
      return { kind: discrete.kind, value: { $case: 'discrete', value: discrete.value } };
    }
    return {
      kind: named?.kind ?? '',
      value: named === undefined ? undefined : { $case: 'named', value: named.value },
    };
  },
  ({ kind, value }) => ({
    named: value?.$case === 'named' ? { kind, value: value.value } : undefined,
    discrete: value?.$case === 'discrete' ? { kind, value: value.value } : undefined,
  }),
);

/** Limits and reservations have the same fields here; Docker's differ in pids and generic ones. */
export const resources = struct<Resources>({
  nanoCpus: ['NanoCPUs', sparse(int64)],
  memoryBytes: ['MemoryBytes', sparse(int64)],
  pids: ['Pids', sparse(int64)],
  generic: ['GenericResources', sparse(list(genericResource))],
});

const resourceRequirements = struct<ResourceRequirements>(
  { limits: ['Limits', maybe(resources)], reservations: ['Reservations', maybe(resources)] },
  ['SwapBytes', 'MemorySwappiness'],
);

export const restartPolicy = struct<RestartPolicy>({
  condition: ['Condition', sparse(text)],
  delayNs: ['Delay', maybe(int64)],
  maxAttempts: ['MaxAttempts', maybe(uint64)],
  windowNs: ['Window', maybe(int64)],
});

export const platform = struct<Platform>({
  architecture: ['Architecture', sparse(text)],
  os: ['OS', sparse(text)],
});

type WirePreference = { spread: { descriptor: string } | undefined };
const preference: Codec<string> = via(
  struct<WirePreference>({
    spread: [
      'Spread',
      maybe(struct<{ descriptor: string }>({ descriptor: ['SpreadDescriptor', text] })),
    ],
  }),
  ({ spread }) => spread?.descriptor ?? '',
  (descriptor) => ({ spread: { descriptor } }),
);

const placement = struct<Placement>({
  constraints: ['Constraints', sparse(texts)],
  spreadOver: ['Preferences', sparse(list(preference))],
  maxReplicasPerNode: ['MaxReplicas', sparse(uint64)],
  platforms: ['Platforms', sparse(list(platform))],
});

export const networkAttachmentConfig = struct<NetworkAttachmentConfig>({
  target: ['Target', sparse(text)],
  aliases: ['Aliases', sparse(texts)],
  driverOptions: ['DriverOpts', sparse(textMap)],
});

export const taskSpec: Codec<TaskSpec> = struct<TaskSpec>(
  {
    // Both always there: the CLI follows these pointers without looking.
    container: ['ContainerSpec', containerSpec as Codec<ContainerSpec | undefined>],
    resources: ['Resources', maybe(resourceRequirements)],
    restart: ['RestartPolicy', maybe(restartPolicy)],
    placement: ['Placement', maybe(placement)],
    networks: ['Networks', sparse(list(networkAttachmentConfig))],
    logDriver: ['LogDriver', maybe(logDriver)],
    forceUpdate: ['ForceUpdate', uint64],
    runtime: ['Runtime', sparse(text)],
  },
  ['PluginSpec', 'NetworkAttachmentSpec'],
);
