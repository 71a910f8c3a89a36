import type { ContainerConfig, ExecConfig } from '../../agent/runtime/types.ts';

/** A process in a container, without its command; what it says is wanted. */
export const EXEC: ExecConfig = {
  cmd: [],
  env: [],
  workingDir: '',
  user: '',
  tty: false,
  attachStdin: false,
  attachStdout: true,
  attachStderr: true,
  privileged: false,
};

let counter = 0;

/** A container that runs `sh -c script` without a network. */
export function containerConfig(
  script: string,
  fields: Partial<ContainerConfig> = {},
): ContainerConfig {
  counter += 1;
  const id = Array.from({ length: 64 }, () => Math.floor(Math.random() * 16).toString(16)).join('');
  return {
    id,
    name: `test-${counter}`,
    image: 'box:1',
    imageId: '',
    chainId: '',
    createdAtMs: Date.now(),
    entrypoint: [],
    cmd: ['/bin/sh', '-c', script],
    env: [],
    workingDir: '',
    user: '',
    groups: [],
    tty: false,
    openStdin: false,
    hostname: '',
    readOnly: false,
    init: false,
    labels: {},
    stopSignal: 'SIGTERM',
    stopGraceMs: 10_000,
    mounts: [],
    files: [],
    resources: { nanoCpus: 0, memoryBytes: 0, memoryReservationBytes: 0, pids: 0 },
    capabilityAdd: [],
    capabilityDrop: [],
    sysctls: {},
    ulimits: [],
    oomScoreAdj: 0,
    network: { mode: 'none' },
    resolvConf: 'nameserver 127.0.0.11\n',
    hosts: '127.0.0.1 localhost\n',
    logMaxBytes: 0,
    logMaxFiles: 1,
    ...fields,
  };
}
