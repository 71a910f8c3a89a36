import type { Service, ServiceSpec } from '../../shared/gen/shoal/v1/objects.ts';
import { BY_HAND_HOLD_MS } from '../../shared/model/autoscale.ts';
import {
  AUTOSCALE_PREFIX,
  effectiveAutoscale,
  followsLoad,
  parseAutoscaleLabels,
} from '../../shared/model/autoscale-labels.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { replicasOf, saidReplicas } from '../../shared/model/replicas.ts';

const HELD_MINUTES = BY_HAND_HOLD_MS / 60_000;

/**
 * What whoever declared the service should know of its scaling: words of other tools that mean something
 * else here, and a count that is not what was asked for or will not stay so. null as Docker has it: nothing.
 */
export function autoscaleWarnings(
  given: ServiceSpec,
  before: Service | undefined,
  after: Service,
): string[] | null {
  const warnings: string[] = [];
  const { spec } = after;
  if (spec === undefined) return null;
  const labels = parseAutoscaleLabels(spec.labels);
  if (spec.autoscale === undefined) {
    if (labels === undefined) warnings.push(...misplaced(spec));
    else if (labels.ok) warnings.push(...labels.warnings);
  } else if (labels !== undefined) {
    // Only who changes them expects something of it.
    const known = parseAutoscaleLabels(before?.spec?.labels ?? {});
    if (!sameValue(known, labels)) warnings.push(overruled(spec));
  }
  const count = followsLoad(spec) ? countWarning(given, before, spec) : undefined;
  if (count !== undefined) warnings.push(count);
  return warnings.length === 0 ? null : warnings;
}

function overruled({ name }: ServiceSpec): string {
  return `labels ${AUTOSCALE_PREFIX}* count for nothing here: the service is scaled as its field Autoscale says, which shoal service autoscale sets; shoal service autoscale ${name} --unset '*' goes back to the labels`;
}

/** `labels:` beside `deploy:` in a compose file are the containers': nothing would scale, and nobody would know why. */
function misplaced({ task }: ServiceSpec): string[] {
  const label = Object.keys(task?.container?.labels ?? {}).find((key) =>
    key.startsWith(AUTOSCALE_PREFIX),
  );
  if (label === undefined) return [];
  return [
    `${label} is a label of the containers, where it scales nothing: give it to the service, in a compose file under deploy.labels`,
  ];
}

function countWarning(
  given: ServiceSpec,
  before: Service | undefined,
  spec: ServiceSpec,
): string | undefined {
  const asked = saidReplicas(given);
  const set = replicasOf(spec);
  const wasScaled = before?.spec !== undefined && followsLoad(before.spec);
  if (!wasScaled) {
    return asked === undefined || asked === set
      ? undefined
      : `autoscaling is active: the service begins with ${set} replicas, not ${asked}, as min and max say`;
  }
  if (asked === undefined || asked === replicasOf(before.spec) || asked === before.declaredReplicas)
    return undefined;
  // Where none is among what the load may ask for, it is a count like others.
  if (set === 0 && effectiveAutoscale(spec)?.min !== 0) {
    return 'autoscaling is active, and paused by a count of 0: give another count to go on';
  }
  const within = asked === set ? '' : ` (${asked} is not within min and max)`;
  return `autoscaling is active: the count is ${set} now${within}, stays so for ${HELD_MINUTES} minutes, then follows the load again; to choose it yourself switch autoscaling off`;
}
