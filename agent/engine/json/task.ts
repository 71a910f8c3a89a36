import {
  type Network,
  type NetworkAttachment,
  type Task,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import type { Codec } from '../codec.ts';
import { words } from '../codec.ts';
import { metaFields, rfc3339 } from './meta.ts';
import { swarmNetworkSpecJson } from './network.ts';
import { portConfig } from './service.ts';
import { taskSpec } from './task-spec.ts';

export const taskState: Codec<TaskState> = words<TaskState>({
  new: TaskState.NEW,
  pending: TaskState.PENDING,
  assigned: TaskState.ASSIGNED,
  accepted: TaskState.ACCEPTED,
  preparing: TaskState.PREPARING,
  ready: TaskState.READY,
  starting: TaskState.STARTING,
  running: TaskState.RUNNING,
  complete: TaskState.COMPLETE,
  shutdown: TaskState.SHUTDOWN,
  failed: TaskState.FAILED,
  rejected: TaskState.REJECTED,
  remove: TaskState.REMOVE,
  orphaned: TaskState.ORPHANED,
});

/** A task as `GET /tasks/{id}` shows it; `networkOf` finds the networks it is attached to. */
export function taskJson(task: Task, networkOf: (id: string) => Network | undefined) {
  const spec = taskSpec.encode(task.spec ?? taskSpec.decode(undefined, ''));
  return {
    ...metaFields(task),
    Labels: {},
    Spec: spec,
    ...(task.serviceId !== '' && { ServiceID: task.serviceId }),
    ...(task.slot > 0 && { Slot: task.slot }),
    ...(task.nodeId !== '' && { NodeID: task.nodeId }),
    Status: statusJson(task),
    DesiredState: taskState.encode(task.desiredState),
    ...(task.networks.length > 0 && {
      NetworksAttachments: task.networks.map((attachment) =>
        attachmentJson(attachment, networkOf(attachment.networkId)),
      ),
    }),
    ...(task.jobIteration !== undefined && { JobIteration: { Index: task.jobIteration } }),
  };
}

function statusJson(task: Task) {
  const status = task.status;
  const container = status?.container;
  return {
    Timestamp: rfc3339(status?.atMs ?? 0),
    State: taskState.encode(status?.state ?? TaskState.NEW),
    ...(status?.message && { Message: status.message }),
    ...(status?.err && { Err: status.err }),
    ...(container && {
      ContainerStatus: {
        ContainerID: container.containerId,
        PID: container.pid,
        ExitCode: container.exitCode,
      },
    }),
    PortStatus:
      status === undefined || status.ports.length === 0
        ? {}
        : { Ports: status.ports.map((port) => portConfig.encode(port)) },
  };
}

function attachmentJson(attachment: NetworkAttachment, network: Network | undefined) {
  return {
    Network:
      network === undefined
        ? { ID: attachment.networkId }
        : {
            ...metaFields(network),
            Spec: swarmNetworkSpecJson(network),
            DriverState: { Name: network.spec?.driver || 'overlay' },
            IPAMOptions: {
              Driver: { Name: 'default' },
              Configs: network.ipam.map(({ subnet, gateway }) => ({
                Subnet: subnet,
                Gateway: gateway,
              })),
            },
          },
    Addresses: attachment.addresses,
  };
}
