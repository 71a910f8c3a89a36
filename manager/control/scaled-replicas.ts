import type { Service, ServiceSpec } from '../../shared/gen/shoal/v1/objects.ts';
import { withAutoscaleDefaults } from '../../shared/model/autoscale.ts';
import { effectiveAutoscale, followsLoad } from '../../shared/model/autoscale-labels.ts';
import { replicasOf, withReplicas } from '../../shared/model/replicas.ts';

/** What is stored of a service's count: the spec with it, and what the operator declared last. */
export type Counted = Readonly<{ spec: ServiceSpec; declaredReplicas: number | undefined }>;

/**
 * The count of a service as it is declared or declared anew. Where it follows its load, the number in the
 * spec is the one to begin with: whoever deploys the same file again, or sends back what he read with
 * another image, does not ask for a count. Another number than the declared and the present one is
 * meant, and applied within min and max; none at all is also meant, and pauses the autoscaler.
 * `saysCount` false: the declaration is about everything but the count, like a rollback, or a file that leaves it out.
 */
export function countedSpec(
  spec: ServiceSpec,
  stored: Pick<Service, 'spec' | 'declaredReplicas'> | undefined,
  saysCount: boolean,
): Counted {
  const given = replicasOf(spec);
  if (given === undefined || !followsLoad(spec)) return { spec, declaredReplicas: undefined };
  const wasScaled = stored?.spec !== undefined && followsLoad(stored.spec);
  if (!wasScaled) return { spec: withinRange(spec, given, 'start'), declaredReplicas: given };
  const { declaredReplicas } = stored;
  const present = replicasOf(stored.spec) ?? given;
  if (!saysCount || given === present || given === declaredReplicas) {
    return { spec: withReplicas(spec, present), declaredReplicas };
  }
  return { spec: withinRange(spec, given, 'later'), declaredReplicas: given };
}

function withinRange(spec: ServiceSpec, replicas: number, when: 'start' | 'later'): ServiceSpec {
  const scaled = effectiveAutoscale(spec);
  if (scaled === undefined || (when === 'later' && replicas === 0)) {
    return withReplicas(spec, replicas);
  }
  const { min, max } = withAutoscaleDefaults(scaled);
  return withReplicas(spec, Math.min(Math.max(replicas, min), max));
}
