import { ShoalError } from '../../shared/errors.ts';
import type { Config, ContainerSpec, Secret, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { withoutPrefix } from '../../shared/model/cidr.ts';
import { taskName } from '../../shared/model/task-name.ts';
import { nsToMs } from '../../shared/model/units.ts';
import type { Image } from '../image/types.ts';
import type { LocalTask, Wiring } from '../network/types.ts';
import { withImageDefaults } from '../runtime/image-defaults.ts';
import type { ContainerConfig, ContainerFile, ContainerMount } from '../runtime/types.ts';
import { expandTemplate, type TemplateContext } from './template.ts';

const LABEL_PREFIX = 'com.docker.swarm';
export const TASK_ID_LABEL = `${LABEL_PREFIX}.task.id`;
export const SERVICE_ID_LABEL = `${LABEL_PREFIX}.service.id`;
const DEFAULT_STOP_GRACE_NS = 10_000_000_000; // Docker's --stop-grace-period
const LOG_MAX_BYTES = 10 * 1024 * 1024;
const LOG_MAX_FILES = 3;

export type HostFacts = Readonly<{
  nodeId: string;
  hostname: string;
  architecture: string;
  os: string;
}>;

/** A volume of this host, made on demand. */
export type VolumeMount = Readonly<{ name: string; mountpoint: string }>;

export function templateContext(task: Task, host: HostFacts): TemplateContext {
  return {
    service: { id: task.serviceId, name: task.serviceName, labels: task.serviceLabels },
    node: {
      id: host.nodeId,
      hostname: host.hostname,
      architecture: host.architecture,
      os: host.os,
    },
    task: { id: task.id, name: taskName(task), slot: slotText(task, host.nodeId) },
  };
}

/** The task as the data plane needs it. */
export function localTask(task: Task, host: HostFacts, containerId: string): LocalTask {
  return {
    taskId: task.id,
    serviceId: task.serviceId,
    hostname: hostnameOf(task, host, containerId),
    attachments: task.networks.flatMap(({ networkId, addresses }) =>
      addresses.slice(0, 1).map((address) => ({ networkId, address })),
    ),
    hostPorts: task.ports.filter((port) => port.publishMode === 'host'),
  };
}

/** The volumes that the task mounts, templates filled in. Throws `unimplemented` for drivers' options. */
export function volumeRequests(
  task: Task,
  host: HostFacts,
): { name: string; driver: string; labels: Record<string, string> }[] {
  const context = templateContext(task, host);
  return containerSpec(task)
    .mounts.filter((mount) => mount.type === 'volume')
    .map(({ source, volume }) => {
      if (Object.keys(volume?.driverOptions ?? {}).length > 0) {
        throw new ShoalError(
          'unimplemented',
          `this is not supported yet: driver options of volume "${source}"`,
        );
      }
      return {
        name: expandTemplate(source, context),
        driver: volume?.driver || 'local',
        labels: volume?.labels ?? {},
      };
    });
}

export type ConfigInputs = Readonly<{
  task: Task;
  containerId: string;
  nowMs: number;
  host: HostFacts;
  image: Image;
  wiring: Wiring | undefined;
  /** In the order of `volumeRequests`. */
  volumes: readonly VolumeMount[];
  networkName: (networkId: string) => string;
}>;

/** The whole container of a task. Throws ShoalError `invalid-argument` where the spec cannot be carried out. */
export function containerConfig(inputs: ConfigInputs): ContainerConfig {
  const { task, containerId, host, image, wiring } = inputs;
  const spec = containerSpec(task);
  const context = templateContext(task, host);
  const hostname = hostnameOf(task, host, containerId);
  const own = {
    entrypoint: spec.command,
    cmd: spec.args,
    env: spec.env.map((entry) => expandTemplate(entry, context)),
    workingDir: spec.dir,
    user: spec.user,
    labels: { ...spec.labels, ...swarmLabels(task, host.nodeId) },
    stopSignal: spec.stopSignal,
  };
  const merged = withImageDefaults(own, image.config);
  if (merged.entrypoint.length + merged.cmd.length === 0) {
    throw new ShoalError(
      'invalid-argument',
      `no command specified: the image ${spec.image} has none either`,
    );
  }
  const limits = task.spec?.resources?.limits;
  const reservations = task.spec?.resources?.reservations;
  return {
    id: containerId,
    name: taskName(task),
    image: spec.image,
    imageId: image.id,
    chainId: image.chainId,
    createdAtMs: inputs.nowMs,
    ...merged,
    groups: spec.groups,
    tty: spec.tty,
    openStdin: spec.openStdin,
    hostname,
    readOnly: spec.readOnly,
    init: spec.init ?? false,
    stopGraceMs: nsToMs(spec.stopGracePeriodNs ?? DEFAULT_STOP_GRACE_NS),
    mounts: mountsOf(spec, inputs, context),
    files: filesOf(spec),
    resources: {
      nanoCpus: limits?.nanoCpus ?? 0,
      memoryBytes: limits?.memoryBytes ?? 0,
      memoryReservationBytes: reservations?.memoryBytes ?? 0,
      pids: limits?.pids ?? 0,
    },
    capabilityAdd: spec.capabilityAdd,
    capabilityDrop: spec.capabilityDrop,
    sysctls: { ...wiring?.sysctls, ...spec.sysctls },
    ulimits: spec.ulimits,
    oomScoreAdj: spec.oomScoreAdj,
    network: usesHostNetwork(task)
      ? { mode: 'host' }
      : wiring === undefined
        ? { mode: 'none' }
        : {
            mode: 'netns',
            path: wiring.netnsPath,
            endpoints: wiring.interfaces.map((link) => ({
              networkId: link.networkId,
              networkName: inputs.networkName(link.networkId),
              address: link.address,
              gateway: link.gateway,
              macAddress: link.macAddress,
              aliases:
                task.networks.find(({ networkId }) => networkId === link.networkId)?.aliases ?? [],
            })),
          },
    resolvConf: resolvConf(spec, wiring),
    hosts: hostsFile(spec, hostname, wiring),
    logMaxBytes: logOption(task, 'max-size') ?? LOG_MAX_BYTES,
    logMaxFiles: logOption(task, 'max-file') ?? LOG_MAX_FILES,
  };
}

/** Contents of the container's files, in the order of `ContainerConfig.files`. */
export function fileContents(
  task: Task,
  secret: (id: string) => Secret | undefined,
  config: (id: string) => Config | undefined,
): Uint8Array[] {
  const spec = containerSpec(task);
  const missing = (kind: string, name: string) =>
    new ShoalError('unavailable', `${kind} ${name} has not reached this node yet`);
  return [
    ...spec.secrets.map((reference) => {
      const data = secret(reference.secretId)?.spec?.data;
      if (data === undefined) throw missing('secret', reference.secretName);
      return data;
    }),
    ...spec.configs.map((reference) => {
      const data = config(reference.configId)?.spec?.data;
      if (data === undefined) throw missing('config', reference.configName);
      return data;
    }),
  ];
}

export function containerSpec(task: Task): ContainerSpec {
  const spec = task.spec?.container;
  if (spec === undefined)
    throw new ShoalError('invalid-argument', 'the task has no container spec');
  return spec;
}

function slotText(task: Task, nodeId: string): string {
  return task.slot === 0 ? nodeId : String(task.slot);
}

function hostnameOf(task: Task, host: HostFacts, containerId: string): string {
  const asked = containerSpec(task).hostname;
  return asked === ''
    ? containerId.slice(0, 12)
    : expandTemplate(asked, templateContext(task, host));
}

function swarmLabels(task: Task, nodeId: string): Record<string, string> {
  return {
    [`${LABEL_PREFIX}.node.id`]: nodeId,
    [SERVICE_ID_LABEL]: task.serviceId,
    [`${LABEL_PREFIX}.service.name`]: task.serviceName,
    [`${LABEL_PREFIX}.task`]: '',
    [TASK_ID_LABEL]: task.id,
    [`${LABEL_PREFIX}.task.name`]: taskName(task),
  };
}

function mountsOf(
  spec: ContainerSpec,
  inputs: ConfigInputs,
  context: TemplateContext,
): ContainerMount[] {
  let volume = 0;
  return spec.mounts.map((mount): ContainerMount => {
    const target = expandTemplate(mount.target, context);
    switch (mount.type) {
      case 'bind':
        return {
          type: 'bind',
          source: expandTemplate(mount.source, context),
          target,
          readOnly: mount.readOnly,
          propagation: mount.bind?.propagation || 'rprivate',
          recursive: !(mount.bind?.nonRecursive ?? false),
          ...(mount.bind?.createMountpoint && { createSource: true }),
        };
      case 'volume': {
        const made = inputs.volumes[volume++];
        if (made === undefined)
          throw new ShoalError('internal', `no volume was made for ${target}`);
        const subpath = mount.volume?.subpath ?? '';
        return {
          type: 'volume',
          name: made.name,
          source: subpath === '' ? made.mountpoint : `${made.mountpoint}/${subpath}`,
          target,
          readOnly: mount.readOnly,
          driver: mount.volume?.driver || 'local',
        };
      }
      case 'tmpfs':
        return {
          type: 'tmpfs',
          target,
          readOnly: mount.readOnly,
          sizeBytes: mount.tmpfs?.sizeBytes ?? 0,
          mode: mount.tmpfs?.mode || 0o1777,
        };
      default:
        throw new ShoalError(
          'unimplemented',
          `mounts of type ${mount.type} are not supported: use bind, volume or tmpfs`,
        );
    }
  });
}

function filesOf(spec: ContainerSpec): ContainerFile[] {
  const absolute = (name: string, folder: string) =>
    name.startsWith('/') ? name : `${folder}${name}`;
  const owner = (id: string | undefined) => Number.parseInt(id || '0', 10) || 0;
  return [
    ...spec.secrets.map(
      ({ secretName, file }): ContainerFile => ({
        kind: 'secret',
        target: absolute(file?.name || secretName, '/run/secrets/'),
        uid: owner(file?.uid),
        gid: owner(file?.gid),
        mode: file?.mode ?? 0o444,
      }),
    ),
    ...spec.configs.map(
      ({ configName, file }): ContainerFile => ({
        kind: 'config',
        target: absolute(file?.name || configName, '/'),
        uid: owner(file?.uid),
        gid: owner(file?.gid),
        mode: file?.mode ?? 0o444,
      }),
    ),
  ];
}

function resolvConf(spec: ContainerSpec, wiring: Wiring | undefined): string {
  const servers = [...(wiring?.nameservers ?? []), ...(spec.dns?.nameservers ?? [])];
  const options = spec.dns?.options.length ? spec.dns.options : ['ndots:0'];
  return [
    ...servers.map((server) => `nameserver ${server}`),
    ...(spec.dns?.search.length ? [`search ${spec.dns.search.join(' ')}`] : []),
    `options ${options.join(' ')}`,
    '',
  ].join('\n');
}

function hostsFile(spec: ContainerSpec, hostname: string, wiring: Wiring | undefined): string {
  const own = (wiring?.interfaces ?? [])
    .slice(0, 1)
    .map((link) => `${withoutPrefix(link.address)}\t${hostname}`);
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...own,
    // Swarm's form of an extra host: "IP name [alias...]".
    ...spec.hosts.map((entry) => entry.trim().replace(/\s+/, '\t')),
    '',
  ].join('\n');
}

/** `max-size` in bytes (10k, 5m, 1g), `max-file` as a number; undefined where it is not given. */
function logOption(task: Task, name: 'max-size' | 'max-file'): number | undefined {
  const match = /^(\d+)([kmg]?)b?$/i.exec(task.spec?.logDriver?.options[name] ?? '');
  if (match === null) return undefined;
  const unit = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? '').toLowerCase()] ?? 1;
  return Number(match[1]) * unit;
}

export function usesHostNetwork(task: Task): boolean {
  return task.spec?.networks.some(({ target }) => target === 'host') ?? false;
}
