import type { Autoscaling, Service } from '../../shared/gen/shoal/v1/objects.ts';
import { EMPTY_MEMORY } from './memory.ts';
import { plainRecord, withRecord } from './records.ts';
import { replicasOf } from './scaling.ts';

/**
 * The log of a service that is not scaled any more. It lives as long as the service, since it tells how the count came
 * to be; what decisions remembered does not: whoever switches scaling on again begins anew, from the count there is.
 */
export function switchedOff(stored: Autoscaling, service: Service, nowMs: number): Autoscaling {
  const message = 'scaling was switched off: the count stays as it is';
  const { setReplicas: _, ...kept } = stored;
  return {
    ...kept,
    records: withRecord(stored.records, plainRecord(replicasOf(service), 'off', message, nowMs)),
    memory: EMPTY_MEMORY,
    serviceName: service.spec?.name ?? '',
  };
}

export function isSwitchedOff({ records }: Autoscaling): boolean {
  return records.at(-1)?.reason === 'off';
}
