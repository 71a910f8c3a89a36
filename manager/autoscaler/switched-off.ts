import type { Autoscaling, Service } from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { replicasOf } from '../../shared/model/replicas.ts';
import { scaleDecisionAction } from '../store/tables.ts';
import { EMPTY_MEMORY } from './memory.ts';
import { plainRecord } from './records.ts';

/**
 * Ends the log of a service that is not scaled any more. It lives as long as the service, since it tells how the count
 * came to be; what decisions remembered does not: whoever switches scaling on again begins anew, from the count there is.
 */
export function switchOff(service: Service, nowMs: number): StoreAction {
  const message = 'scaling was switched off: the count stays as it is';
  return scaleDecisionAction({
    serviceId: service.id,
    record: plainRecord(replicasOf(service.spec) ?? 0, 'off', message, nowMs),
    memory: EMPTY_MEMORY,
    serviceName: service.spec?.name ?? '',
  });
}

export function isSwitchedOff({ records }: Autoscaling): boolean {
  return records.at(-1)?.reason === 'off';
}
