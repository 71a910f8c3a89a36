/** The parts of the OCI runtime specification (1.0.2) that we write. */
export type OciSpec = Readonly<{
  ociVersion: string;
  process: OciProcess;
  root: Readonly<{ path: string; readonly: boolean }>;
  hostname: string;
  mounts: readonly OciMount[];
  annotations?: Readonly<Record<string, string>>;
  linux: Readonly<{
    sysctl: Readonly<Record<string, string>>;
    cgroupsPath: string;
    resources: OciResources;
    namespaces: readonly Readonly<{ type: string; path?: string }>[];
    devices: readonly never[];
    seccomp?: OciSeccomp;
    maskedPaths: readonly string[];
    readonlyPaths: readonly string[];
  }>;
}>;

export type OciProcess = Readonly<{
  terminal?: boolean;
  user: OciUser;
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  capabilities: OciCapabilities;
  rlimits?: readonly Readonly<{ type: string; soft: number; hard: number }>[];
  oomScoreAdj?: number;
  noNewPrivileges?: boolean;
  apparmorProfile?: string;
}>;

export type OciUser = Readonly<{ uid: number; gid: number; additionalGids: readonly number[] }>;

export type OciCapabilities = Readonly<{
  bounding: readonly string[];
  effective?: readonly string[];
  permitted?: readonly string[];
}>;

export type OciMount = Readonly<{
  destination: string;
  type: string;
  source: string;
  options: readonly string[];
}>;

export type OciDeviceRule = Readonly<{
  allow: boolean;
  type?: string;
  major?: number;
  minor?: number;
  access: string;
}>;

export type OciResources = Readonly<{
  devices: readonly OciDeviceRule[];
  memory?: Readonly<{ limit?: number; reservation?: number; swap?: number }>;
  cpu?: Readonly<{ quota: number; period: number }>;
  pids?: Readonly<{ limit: number }>;
}>;

export type OciSeccomp = Readonly<{
  defaultAction: string;
  architectures: readonly string[];
  syscalls: readonly Readonly<{
    names: readonly string[];
    action: string;
    errnoRet?: number;
    args?: readonly Readonly<{ index: number; value: number; valueTwo?: number; op: string }>[];
  }>[];
}>;
