import type { Image } from '../image/types.ts';

export type ContainerMount =
  | Readonly<{
      type: 'bind';
      source: string;
      target: string;
      readOnly: boolean;
      propagation: string;
      recursive: boolean;
      /** A folder is made where the source is missing. */
      createSource?: boolean;
    }>
  | Readonly<{
      type: 'volume';
      name: string;
      source: string;
      target: string;
      readOnly: boolean;
      driver: string;
    }>
  | Readonly<{ type: 'tmpfs'; target: string; readOnly: boolean; sizeBytes: number; mode: number }>;

/** Limits of a container; 0 means none. */
export type ContainerResources = Readonly<{
  nanoCpus: number;
  memoryBytes: number;
  memoryReservationBytes: number;
  pids: number;
}>;

export type ContainerNetwork =
  | Readonly<{ mode: 'none' }>
  | Readonly<{ mode: 'host' }>
  /** A namespace wired in advance; `endpoints` is what inspect shows. */
  | Readonly<{ mode: 'netns'; path: string; endpoints: readonly ContainerEndpoint[] }>;

export type ContainerEndpoint = Readonly<{
  networkId: string;
  networkName: string;
  address: string; // CIDR
  gateway: string;
  macAddress: string;
  aliases: readonly string[];
}>;

/**
 * Everything a container is made from: complete, so that a restarted daemon needs nothing else. Kept
 * beside containerd's record of the container.
 */
export type ContainerConfig = Readonly<{
  /** 64 hex characters. */
  id: string;
  /** Without a leading slash. */
  name: string;
  /** As asked for. */
  image: string;
  imageId: string;
  chainId: string;
  createdAtMs: number;
  entrypoint: readonly string[];
  cmd: readonly string[];
  env: readonly string[];
  workingDir: string;
  /** name|uid[:group|gid] as given; resolved against the image's /etc/passwd at creation. */
  user: string;
  groups: readonly string[];
  tty: boolean;
  openStdin: boolean;
  hostname: string;
  readOnly: boolean;
  init: boolean;
  labels: Readonly<Record<string, string>>;
  stopSignal: string;
  stopGraceMs: number;
  mounts: readonly ContainerMount[];
  /** Written to a tmpfs of the host and bound read-only (secrets) or to the container's own layer (configs). */
  files: readonly ContainerFile[];
  resources: ContainerResources;
  capabilityAdd: readonly string[];
  capabilityDrop: readonly string[];
  sysctls: Readonly<Record<string, string>>;
  ulimits: readonly Readonly<{ name: string; soft: number; hard: number }>[];
  oomScoreAdj: number;
  network: ContainerNetwork;
  /** Lines of /etc/resolv.conf and /etc/hosts. */
  resolvConf: string;
  hosts: string;
  /** Log rotation: bytes per file and how many files are kept. */
  logMaxBytes: number;
  logMaxFiles: number;
}>;

/** The data is not part of the stored configuration: only where it goes. */
export type ContainerFile = Readonly<{
  kind: 'secret' | 'config';
  /** Absolute path in the container. */
  target: string;
  uid: number;
  gid: number;
  mode: number;
}>;

export type ContainerState = Readonly<{
  status: 'created' | 'running' | 'paused' | 'exited' | 'dead';
  pid: number;
  exitCode: number;
  oomKilled: boolean;
  /** 0 when it has not. */
  startedAtMs: number;
  finishedAtMs: number;
  error: string;
}>;

export type Container = Readonly<{ config: ContainerConfig; state: ContainerState }>;

export type RuntimeEvent =
  | Readonly<{ kind: 'exit'; id: string; exitCode: number; oomKilled: boolean; atMs: number }>
  | Readonly<{ kind: 'oom'; id: string }>
  /** containerd came back: list again, events may have been missed. */
  | Readonly<{ kind: 'resync' }>;

export type ExecConfig = Readonly<{
  cmd: readonly string[];
  env: readonly string[];
  workingDir: string;
  user: string;
  tty: boolean;
  attachStdin: boolean;
  attachStdout: boolean;
  attachStderr: boolean;
  privileged: boolean;
}>;

/** A process started in a running container. */
export interface ExecProcess {
  readonly pid: number;
  /** Chunks in the order they came; stream 1 stdout, 2 stderr (a tty has only 1). Ends when the process has. */
  output(): AsyncIterable<Readonly<{ stream: 1 | 2; data: Uint8Array }>>;
  writeStdin(data: Uint8Array): Promise<void>;
  closeStdin(): Promise<void>;
  resize(width: number, height: number): Promise<void>;
  /** The exit code, once all output was read. */
  wait(): Promise<number>;
  kill(signal: number): Promise<void>;
}

/** One line (or part of a line longer than 16 KiB) of a container's log. */
export type LogLine = Readonly<{
  stream: 1 | 2;
  /** RFC 3339, nine digits, UTC. */
  at: string;
  data: Uint8Array;
  partial: boolean;
}>;

export type LogQuery = Readonly<{
  stdout: boolean;
  stderr: boolean;
  follow: boolean;
  /** Lines from the end; negative: all. */
  tail: number;
  /** Unix nanoseconds as strings would lose nothing, but milliseconds with a fraction suffice here. 0: no bound. */
  sinceMs: number;
  untilMs: number;
}>;

export type ContainerStats = Readonly<{
  readAtMs: number;
  cpuTotalNs: number;
  cpuKernelNs: number;
  cpuUserNs: number;
  /** CPU time of the whole machine, ns. */
  systemCpuNs: number;
  onlineCpus: number;
  throttledPeriods: number;
  periods: number;
  throttledNs: number;
  memoryUsageBytes: number;
  memoryInactiveFileBytes: number;
  memoryLimitBytes: number;
  pids: number;
  pidsLimit: number;
  blockReadBytes: number;
  blockWriteBytes: number;
  networks: Readonly<
    Record<
      string,
      Readonly<{
        rxBytes: number;
        rxPackets: number;
        txBytes: number;
        txPackets: number;
        rxErrors: number;
        txErrors: number;
        rxDropped: number;
        txDropped: number;
      }>
    >
  >;
  cgroupVersion: 1 | 2;
}>;

/**
 * Containers on this host. Containers outlive this process: what it says after a restart comes from
 * containerd. Errors are ShoalError: `not-found`, `failed-precondition` (wrong state), `invalid-argument`
 * (the process cannot be started: message as runc's, ends in ": unknown"), `unavailable` (containerd away).
 */
export interface Runtime {
  /** Makes the container (record, snapshot, mounts), nothing runs. `files` in the order of config.files. */
  create(
    config: ContainerConfig,
    image: Image,
    files: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<void>;
  start(id: string, signal: AbortSignal): Promise<{ pid: number; startedAtMs: number }>;
  /** A signal to the first process, by number. No error when it has ended already. */
  kill(id: string, signal: number): Promise<void>;
  /** Removes it, its snapshot, its secret files and its log; kills it first when `force`. No error when it is gone. */
  remove(id: string, options: { force: boolean }): Promise<void>;
  /** All containers, each with what is known of its end. */
  list(): Promise<readonly Container[]>;
  get(id: string): Promise<Container | undefined>;
  /** Resolves when the container has ended; at once when it has already. */
  wait(
    id: string,
    signal: AbortSignal,
  ): Promise<{ exitCode: number; oomKilled: boolean; atMs: number }>;
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
  exec(id: string, exec: ExecConfig, signal: AbortSignal): Promise<ExecProcess>;
  logs(id: string, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>;
  stats(id: string): Promise<ContainerStats | undefined>;
  /** Bytes in the container's own layer: what it wrote over its image. Reads the whole layer. */
  writtenBytes(id: string): Promise<number>;
  /** Pids of its processes, as this host counts them. */
  processes(id: string): Promise<readonly number[]>;
}
