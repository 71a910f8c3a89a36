import { join } from 'node:path';
import type { NodeDescription, TaskStatus } from '../../../shared/gen/shoal/v1/objects.ts';
import { newHexId } from '../../../shared/ids.ts';
import { systemClock, systemRandom } from '../../../shared/io/system.ts';
import type { Log } from '../../../shared/log.ts';
import { eventedRuntime } from '../../engine/evented-runtime.ts';
import type { EventBus } from '../../engine/events.ts';
import { registryAuth } from '../../engine/registry-auth.ts';
import type { AgentFlags } from '../../flags.ts';
import type { ContainerdImages } from '../../image/images.ts';
import { LinuxDataPlane } from '../../network/io/linux-data-plane.ts';
import type { ContainerdRuntime } from '../../runtime/runtime.ts';
import type { HealthBook } from '../../task/health-book.ts';
import { assignmentFile } from '../../task/io/assignment-file.ts';
import { listens } from '../../task/io/listening.ts';
import { TaskManager } from '../../task/manager.ts';
import type { LocalVolumes } from '../../volume/io/local-volumes.ts';
import type { NodeRecord } from '../record.ts';
import { describeHost } from './description.ts';

/** What a host has whether or not it is in a cluster. */
export type HostParts = Readonly<{
  flags: AgentFlags;
  runtime: ContainerdRuntime;
  images: ContainerdImages;
  volumes: LocalVolumes;
  events: EventBus;
  health: HealthBook;
  log: Log;
}>;

/** What does the tasks' work on this host, whoever assigns them. */
export function hostWork(
  parts: HostParts,
  record: NodeRecord,
  host: NodeDescription,
  log: Log,
  report: (taskId: string, status: TaskStatus) => void,
) {
  const { flags } = parts;
  const dataPlane = new LinuxDataPlane({
    nodeId: record.nodeId,
    hostAddress: record.dataPathAddress,
    clock: systemClock,
    random: systemRandom,
    log: log.with({ part: 'network' }),
  });
  const tasks = new TaskManager({
    runtime: eventedRuntime(parts.runtime, parts.events),
    images: parts.images,
    dataPlane,
    volumes: parts.volumes,
    health: parts.health,
    listens,
    host: {
      nodeId: record.nodeId,
      hostname: flags.hostname,
      architecture: host.platform?.architecture ?? '',
      os: host.platform?.os ?? '',
    },
    file: assignmentFile(join(flags.stateDir, 'tasks', 'assignments.bin')),
    newContainerId: () => newHexId(systemRandom),
    registryAuth,
    report,
    clock: systemClock,
    log: log.with({ part: 'tasks' }),
  });
  return { tasks, dataPlane };
}

/** What a membership left running that nobody can use any more, for want of its key. */
export async function endTasks(parts: HostParts, record: NodeRecord): Promise<void> {
  const log = parts.log.with({ node: record.nodeId });
  const host = describeBy(parts.flags, record.dataPathAddress);
  const { tasks, dataPlane } = hostWork(parts, record, host, log, () => undefined);
  try {
    await tasks.adopt();
    await tasks.removeAll();
    await dataPlane.removeAll();
  } finally {
    await dataPlane.close();
  }
}

/** What this host is, as the one who started shoald calls it. */
export function describeBy(flags: AgentFlags, dataPathAddress: string): NodeDescription {
  return describeHost({
    hostname: flags.hostname,
    labels: flags.labels,
    dataPathAddress,
  });
}
