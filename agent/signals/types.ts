/** A task of this host whose service is to be measured. */
export type MeasuredTask = Readonly<{
  taskId: string;
  serviceId: string;
  /** Undefined until its container is made. */
  containerId: string | undefined;
  /** CPU, memory, network, pids. */
  resources: boolean;
  /** Requests and connections. */
  requests: boolean;
}>;

/** Counters and gauges of one container; what could not be read is absent. Counters only grow in a container's life. */
export type Resources = Readonly<{
  cpuNs?: number | undefined;
  /** The working set: without the page cache that the kernel would drop first. */
  memoryBytes?: number | undefined;
  /** Received and sent, by all interfaces but `lo`. */
  networkBytes?: number | undefined;
  pids?: number | undefined;
}>;

/** Reads what the kernel counts of containers. Synchronous: nothing of it waits for a disk. */
export interface ResourceReader {
  knows(containerId: string): boolean;
  /** `pid` is the first process of the running container. */
  open(containerId: string, pid: number): void;
  /** Undefined when the container is gone; it is forgotten then. */
  read(containerId: string): Resources | undefined;
  /** Closes what is open of all others. */
  keepOnly(containerIds: ReadonlySet<string>): void;
}
