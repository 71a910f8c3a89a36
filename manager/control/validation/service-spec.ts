import {
  ContainerSpec,
  Placement,
  type ServiceSpec,
  type TaskSpec,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { parseConstraints, parseLabelSubject } from '../../../shared/model/constraint.ts';
import { DRAIN_DELAY_LABEL, drainDelayMs } from '../../../shared/model/drain-delay.ts';
import { checkLabels } from '../../../shared/model/labels.ts';
import { unreachable } from '../../../shared/unreachable.ts';
import { invalid, unimplemented } from '../refuse.ts';
import { checkAutoscale } from './autoscale.ts';
import { checkContainerSpec } from './container-spec.ts';
import { checkEndpoint, completeEndpoint } from './endpoint.ts';
import { MAX_REPLICAS } from './limits.ts';
import { checkServiceName } from './names.ts';
import { checkResources } from './resources.ts';
import { checkRestartPolicy, checkUpdateConfig } from './update-config.ts';

/** What containers write is kept by one driver; its options are json-file's. */
const LOG_DRIVERS = ['', 'json-file'];

/**
 * The spec with what Docker leaves open filled in, where leaving it open would make equal specs
 * look different: mode, replicas, protocol and publish mode of ports.
 */
export function completeServiceSpec(spec: ServiceSpec): ServiceSpec {
  const mode = spec.mode ?? { $case: 'replicated' as const, value: { replicas: 1 } };
  return {
    ...spec,
    mode:
      mode.$case === 'replicated'
        ? { $case: 'replicated', value: { replicas: mode.value.replicas ?? 1 } }
        : mode,
    endpoint: completeEndpoint(spec.endpoint),
  };
}

/**
 * Judges everything that can be judged without looking at the cluster. Expects a completed spec.
 * Throws ShoalError `invalid-argument` or, for what Swarm has and this version does not,
 * `unimplemented`; the message names the field.
 */
export function checkServiceSpec(spec: ServiceSpec): void {
  checkServiceName(spec.name);
  checkLabels('labels', spec.labels);
  checkDrainDelay(spec.labels);
  checkMode(spec.mode);
  checkTaskSpec(spec.task);
  checkUpdateConfig('update', spec.update);
  checkUpdateConfig('rollback', spec.rollback);
  checkEndpoint(spec.endpoint);
  checkHostNetwork(spec);
  checkAutoscale(spec);
}

function checkDrainDelay(labels: ServiceSpec['labels']): void {
  if (drainDelayMs(labels) !== undefined) return;
  const value = JSON.stringify(labels[DRAIN_DELAY_LABEL]);
  throw invalid(`labels: ${DRAIN_DELAY_LABEL} ${value} is no duration up to an hour, like 10s`);
}

function checkMode(mode: ServiceSpec['mode']): void {
  switch (mode?.$case) {
    case undefined:
      throw invalid('mode: expected replicated or global');
    case 'global':
      return;
    case 'replicated': {
      const replicas = mode.value.replicas ?? 1;
      if (replicas < 0) throw invalid('Number of replicas must be non-negative');
      if (replicas > MAX_REPLICAS) {
        throw invalid(`Number of replicas must be at most ${MAX_REPLICAS}, not ${replicas}`);
      }
      return;
    }
    case 'replicatedJob':
    case 'globalJob': {
      const word = mode.$case === 'globalJob' ? 'global-job' : 'replicated-job';
      throw unimplemented(`mode ${word} is not supported yet: use replicated or global`);
    }
    default:
      unreachable(mode);
  }
}

function checkTaskSpec(task: TaskSpec | undefined): void {
  if (task?.runtime !== undefined && !['', 'container'].includes(task.runtime)) {
    throw unimplemented(
      `TaskSpec: runtime ${JSON.stringify(task.runtime)} is not supported yet: use container`,
    );
  }
  // A spec without any container is told as one without an image: the first thing that it lacks.
  checkContainerSpec(task?.container ?? ContainerSpec.fromPartial({}));
  if (task === undefined) return;
  checkResources(task.resources);
  checkRestartPolicy(task.restart);
  checkPlacement(task.placement ?? Placement.fromPartial({}));
  if (!LOG_DRIVERS.includes(task.logDriver?.name ?? '')) {
    throw unimplemented(
      `TaskSpec: log driver ${JSON.stringify(task.logDriver?.name)} is not supported yet: use json-file`,
    );
  }
}

function checkPlacement(placement: Placement): void {
  parseConstraints(placement.constraints);
  for (const descriptor of placement.spreadOver) {
    if (parseLabelSubject(descriptor) === undefined) {
      throw invalid(
        `TaskSpec: placement preference ${JSON.stringify(descriptor)} is invalid: spread over node.labels.<label> or engine.labels.<label>`,
      );
    }
  }
  if (placement.maxReplicasPerNode < 0) {
    throw invalid('TaskSpec: replicas-max-per-node cannot be negative');
  }
}

/** A task in the host's own namespace has no address that a port could lead to. */
function checkHostNetwork(spec: ServiceSpec): void {
  const targets = spec.task?.networks.map(({ target }) => target) ?? [];
  for (const local of ['host', 'none']) {
    if (!targets.includes(local)) continue;
    if (targets.length > 1) {
      throw invalid(`TaskSpec: network ${local} cannot be combined with other networks`);
    }
    if ((spec.endpoint?.ports.length ?? 0) > 0) {
      throw invalid(`EndpointSpec: ports cannot be published with network ${local}`);
    }
  }
}
