import type { AutoscaleMetric, AutoscaleSpec } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Sampling } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Service, ServiceSpec } from '../../shared/gen/shoal/v1/objects.ts';
import { withAutoscaleDefaults } from '../../shared/model/autoscale.ts';
import { effectiveAutoscale } from '../../shared/model/autoscale-labels.ts';
import type { Signal } from './signals.ts';

// What of a service's spec concerns its scaling: the same on every manager, so that it is asked by what the hosts
// are told as well as by who decides.

/** How the service follows its load; undefined: it does not. */
export function scalingOf(service: Service | undefined): AutoscaleSpec | undefined {
  return scalingOfSpec(service?.spec);
}

export function scalingOfSpec(spec: ServiceSpec | undefined): AutoscaleSpec | undefined {
  return spec && effectiveAutoscale(spec);
}

/** In `recommend` it is only said what would be done. */
export function isActive({ mode }: Pick<AutoscaleSpec, 'mode'>): boolean {
  return mode !== 'recommend';
}

/**
 * Whether connections to the service are held while it has no task: somebody is going to start one for them. Also where
 * only a schedule lets it have none: which one is in force, hosts are not told.
 */
export function holdsConnections(service: Service): boolean {
  const scaling = scalingOf(service);
  if (scaling === undefined || !isActive(scaling)) return false;
  return scaling.min === 0 || scaling.schedules.some(({ min }) => min === 0);
}

/** What is to be measured of the service's tasks; undefined: nothing. */
export function samplingOf(service: Service | undefined): Sampling | undefined {
  const scaling = scalingOf(service);
  if (service === undefined || scaling === undefined) return undefined;
  const signals = withAutoscaleDefaults(scaling).metrics.map(signalOf);
  const requests = signals.some((signal) => signal === 'requests' || signal === 'connections');
  const resources = signals.some(
    (signal) => signal !== undefined && signal !== 'requests' && signal !== 'connections',
  );
  if (!requests && !resources) return undefined;
  return { serviceId: service.id, resources, requests };
}

/** What agents measure for the metric; undefined: it is read elsewhere. */
export function signalOf({ kind }: AutoscaleMetric): Signal | undefined {
  switch (kind?.$case) {
    case 'cpu':
    case 'memory':
    case 'network':
    case 'pids':
    case 'requests':
    case 'connections':
      return kind.$case;
    default:
      return undefined;
  }
}
