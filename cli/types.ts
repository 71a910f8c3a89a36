/** The parts of the Engine API's objects that the CLI prints. */
export type NodeJson = Readonly<{
  ID: string;
  Spec: Readonly<{ Role: string; Availability: string }>;
  Description: Readonly<{ Hostname: string; Engine: Readonly<{ EngineVersion: string }> }>;
  Status: Readonly<{ State: string; Addr: string }>;
  ManagerStatus?: Readonly<{ Leader?: boolean; Reachability: string }>;
}>;

export type ServiceJson = Readonly<{
  ID: string;
  Version: Readonly<{ Index: number }>;
  Spec: ServiceSpecJson;
  Endpoint?: Readonly<{ Ports?: readonly PortJson[] | null }>;
  ServiceStatus?: Readonly<{ RunningTasks: number; DesiredTasks: number }>;
}>;
export type ServiceSpecJson = Readonly<{
  Name: string;
  Mode: Readonly<{ Replicated?: Readonly<{ Replicas: number }>; Global?: object }>;
  TaskTemplate: Readonly<{ ContainerSpec: Readonly<{ Image: string }> }>;
}>;
export type PortJson = Readonly<{ Protocol: string; TargetPort: number; PublishedPort: number }>;

export type TaskJson = Readonly<{
  ID: string;
  ServiceID: string;
  Slot?: number;
  NodeID?: string;
  Spec: Readonly<{ ContainerSpec: Readonly<{ Image: string }> }>;
  Status: Readonly<{ State: string; Timestamp: string; Err?: string }>;
  DesiredState: string;
}>;

export type NetworkJson = Readonly<{ Id: string; Name: string; Driver: string; Scope: string }>;
export type ContainerJson = Readonly<{
  Id: string;
  Image: string;
  Command: string;
  Status: string;
  Names: readonly string[];
}>;
export type ImageJson = Readonly<{ Id: string; RepoTags: readonly string[] | null; Size: number }>;
export type InfoJson = Readonly<{
  Name: string;
  ServerVersion: string;
  Containers: number;
  Images: number;
  Swarm: Readonly<{
    NodeID: string;
    NodeAddr: string;
    LocalNodeState: string;
    ControlAvailable: boolean;
    Nodes?: number;
    Managers?: number;
  }>;
}>;
export type SwarmJson = Readonly<{ JoinTokens: Readonly<{ Worker: string; Manager: string }> }>;

export type ReadingJson = Readonly<{
  Name: string;
  Value?: number;
  Target: number;
  Ratio?: number;
  Counted: number;
  Missing: number;
  NotReady: number;
  Proposal?: number;
  Error?: string;
}>;
export type RecordJson = Readonly<{
  At: string;
  From: number;
  To: number;
  Reason: string;
  Message: string;
  Metrics: readonly ReadingJson[];
  Proposed: number;
  Stabilized: number;
  Limited: number;
  Held: boolean;
  Replay?: Readonly<{ Again?: RecordJson; Differs: readonly string[] }>;
}>;
export type AutoscalingJson = Readonly<{
  ServiceName: string;
  Replicas: number;
  ReadyTasks: number;
  SetByHand: boolean;
  /** As declared, and with the defaults; absent: the service is not scaled. */
  Settings?: Readonly<Record<string, string>>;
  Effective?: Readonly<Record<string, string>>;
  Last?: RecordJson;
  Records: readonly RecordJson[];
}>;
