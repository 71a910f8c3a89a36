import type { Service, Task } from '../../shared/gen/shoal/v1/objects.ts';
import type { Unit } from '../loop.ts';
import type { ClusterContext, ServiceContext } from './context.ts';
import { DirtyCheck } from './dirty.ts';
import { ServiceDraft } from './draft.ts';
import { orphanLost, reapSlot } from './reap.ts';
import { superviseSlot } from './restart.ts';
import { removeAll, scaleGlobal, scaleReplicated } from './scale.ts';
import { startPrepared } from './start.ts';
import { finishSlot, isUpdating, stepUpdate } from './update.ts';

/** What to write for one service, and when to look at it again though nothing changes. */
export type Outcome = Readonly<{ units: readonly Unit[]; wakeAtMs: number | undefined }>;

/**
 * Compares a service with its tasks and decides what brings them closer to its spec. Depends on its
 * arguments only and needs no memory of what was decided before: any leader may go on at any time.
 * `service` is undefined when it was removed: then its tasks go.
 *
 * Jobs are left alone: control refuses them.
 */
export function reconcileService(
  serviceId: string,
  service: Service | undefined,
  tasks: Iterable<Task>,
  cluster: ClusterContext,
): Outcome {
  const draft = new ServiceDraft(serviceId, service, tasks);
  const mode = service?.spec?.mode?.$case ?? 'replicated';
  const reference = service ?? emptyService;
  const context: ServiceContext = {
    cluster,
    nowMs: cluster.nowMs,
    dirty: new DirtyCheck(reference),
  };
  for (const slot of draft.slots.values()) orphanLost(draft, slot, context);
  if (service === undefined) {
    for (const slot of draft.slots.values()) removeAll(draft, slot);
  } else if (mode === 'replicated') {
    for (const slot of draft.slots.values()) superviseSlot(draft, service, slot, context);
    scaleReplicated(draft, service, context);
    roll(draft, service, context);
  } else if (mode === 'global') {
    scaleGlobal(draft, service, context);
    for (const slot of draft.slots.values()) superviseSlot(draft, service, slot, context);
    roll(draft, service, context);
  } else {
    return { units: [], wakeAtMs: undefined };
  }
  const updating = draft.service !== undefined && isUpdating(draft.service);
  for (const slot of draft.slots.values()) reapSlot(draft, slot, context, updating);
  return { units: draft.units(), wakeAtMs: draft.wakeAtMs };
}

function roll(draft: ServiceDraft, service: Service, context: ServiceContext): void {
  stepUpdate(draft, service, context);
  for (const slot of draft.slots.values()) {
    finishSlot(draft, slot, context);
    startPrepared(draft, slot, context);
  }
}

const emptyService: Service = {
  id: '',
  meta: undefined,
  spec: undefined,
  specVersion: 0,
  allocationError: '',
};
