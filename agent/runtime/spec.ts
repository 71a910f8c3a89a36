import { ShoalError } from '../../shared/errors.ts';
import { capabilities, capabilitySets } from './capabilities.ts';
import { DEVICE_RULES, MASKED_PATHS, NETWORK_SYSCTLS, READONLY_PATHS } from './defaults.ts';
import { mergeEnv } from './image-defaults.ts';
import { mounts } from './mounts.ts';
import type { OciProcess, OciResources, OciSpec } from './oci.ts';
import { seccompProfile } from './seccomp.ts';
import type { ContainerConfig, ContainerResources, ExecConfig } from './types.ts';
import { resolveUser, type UserFiles } from './user.ts';

/** What the host is, as far as a container's specification depends on it. */
export type HostFacts = Readonly<{
  /** Node's name: `x64`, `arm64`. */
  architecture: string;
  cgroupVersion: 1 | 2;
  /** Whether swap can be limited; asking for it elsewhere makes the start fail. */
  swapLimit: boolean;
  /** Profile for containers, where AppArmor is on and has it loaded. */
  apparmorProfile: string | undefined;
  /** Where containers' cgroups lie, relative to each hierarchy's root; begins with `/`. */
  cgroupParent: string;
  /** Containers may use this architecture's own system calls only. */
  nativeSystemCallsOnly: boolean;
  /** A static tini. */
  initPath: string;
}>;

/** Files of the host that are bound into the container. */
export type ContainerPaths = Readonly<{
  hostname: string;
  hosts: string;
  resolvConf: string;
  /** In the order of `config.files`. */
  files: readonly string[];
}>;

export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const CPU_PERIOD_US = 100_000;
const INIT_TARGET = '/sbin/docker-init';

/**
 * The OCI specification of a container with exactly Docker's defaults. Throws `invalid-argument` for what
 * the container cannot be started with: no command, an unknown user or capability.
 */
export function buildSpec(
  config: ContainerConfig,
  host: HostFacts,
  paths: ContainerPaths,
  users: UserFiles,
  annotations: Readonly<Record<string, string>> = {},
): OciSpec {
  const held = capabilities(config.capabilityAdd, config.capabilityDrop);
  const seccomp = seccompProfile(held, host.architecture, host.nativeSystemCallsOnly);
  const onHost = config.network.mode === 'host';
  return {
    ociVersion: '1.0.2',
    process: firstProcess(config, host, held, users),
    root: { path: 'rootfs', readonly: config.readOnly },
    hostname: config.hostname || config.id.slice(0, 12),
    mounts: mounts(config, {
      ...paths,
      init: config.init ? { source: host.initPath, target: INIT_TARGET } : undefined,
    }),
    annotations,
    linux: {
      sysctl: { ...(onHost ? {} : NETWORK_SYSCTLS), ...config.sysctls },
      cgroupsPath: `${host.cgroupParent}/${config.id}`,
      resources: resources(config.resources, host.swapLimit),
      namespaces: namespaces(config, host),
      devices: [],
      ...(seccomp === undefined ? {} : { seccomp }),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

function firstProcess(
  config: ContainerConfig,
  host: HostFacts,
  held: readonly string[],
  users: UserFiles,
): OciProcess {
  const command = [...config.entrypoint, ...config.cmd];
  if (command.length === 0) throw new ShoalError('invalid-argument', 'no command specified');
  const user = resolveUser(config.user, config.groups, users);
  const hostname = config.hostname || config.id.slice(0, 12);
  return {
    ...(config.tty ? { terminal: true } : {}),
    user,
    args: config.init ? [INIT_TARGET, '--', ...command] : command,
    env: mergeEnv(
      [DEFAULT_PATH, `HOSTNAME=${hostname}`, ...(config.tty ? ['TERM=xterm'] : [])],
      config.env,
    ),
    cwd: config.workingDir || '/',
    capabilities: capabilitySets(held, user.uid),
    ...(config.ulimits.length === 0
      ? {}
      : {
          rlimits: config.ulimits.map(({ name, soft, hard }) => ({
            type: `RLIMIT_${name.toUpperCase()}`,
            soft,
            hard,
          })),
        }),
    // Written always: the shim's own score, which is containerd's, would be inherited otherwise.
    oomScoreAdj: config.oomScoreAdj,
    ...(host.apparmorProfile === undefined ? {} : { apparmorProfile: host.apparmorProfile }),
  };
}

/** A further process: everything as the container's first one has it, but for what `exec` says. */
export function execProcess(
  first: OciProcess,
  exec: ExecConfig,
  users: UserFiles,
  all: readonly string[],
): OciProcess {
  if (exec.cmd.length === 0) throw new ShoalError('invalid-argument', 'No exec command specified');
  const user = exec.user === '' ? first.user : resolveUser(exec.user, [], users);
  const held = exec.privileged ? all : first.capabilities.bounding;
  const { terminal: _, ...rest } = first;
  return {
    ...rest,
    ...(exec.tty ? { terminal: true } : {}),
    user,
    args: exec.cmd,
    env: mergeEnv(first.env, [...(exec.tty ? ['TERM=xterm'] : []), ...exec.env]),
    cwd: exec.workingDir || first.cwd,
    capabilities: capabilitySets(held, user.uid),
  };
}

function resources(limits: ContainerResources, swapLimit: boolean): OciResources {
  const { memoryBytes, memoryReservationBytes, nanoCpus, pids } = limits;
  const memory = {
    // Docker's rule: as much swap again as memory.
    ...(memoryBytes > 0 ? { limit: memoryBytes } : {}),
    ...(memoryBytes > 0 && swapLimit ? { swap: memoryBytes * 2 } : {}),
    ...(memoryReservationBytes > 0 ? { reservation: memoryReservationBytes } : {}),
  };
  return {
    devices: DEVICE_RULES,
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(nanoCpus > 0
      ? { cpu: { quota: Math.round((nanoCpus * CPU_PERIOD_US) / 1e9), period: CPU_PERIOD_US } }
      : {}),
    ...(pids > 0 ? { pids: { limit: pids } } : {}),
  };
}

function namespaces(config: ContainerConfig, host: HostFacts): OciSpec['linux']['namespaces'] {
  const { network } = config;
  return [
    { type: 'mount' },
    { type: 'uts' },
    { type: 'pid' },
    { type: 'ipc' },
    ...(host.cgroupVersion === 2 ? [{ type: 'cgroup' }] : []),
    ...(network.mode === 'none' ? [{ type: 'network' }] : []),
    ...(network.mode === 'netns' ? [{ type: 'network', path: network.path }] : []),
  ];
}
