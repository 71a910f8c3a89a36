import type { MetricReading, ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';
import type { ServiceAutoscaling } from '../../../shared/gen/shoal/v1/control.ts';
import { withAutoscaleDefaults } from '../../../shared/model/autoscale.ts';
import { settingsOf } from '../../../shared/model/autoscale-settings-of.ts';
import { autoscaleSpec } from './autoscale.ts';
import { rfc3339 } from './meta.ts';

/** How a service follows its load, as `GET /services/{id}/autoscale` shows it. */
export function autoscalingJson(shown: ServiceAutoscaling): Record<string, unknown> {
  const { spec, last } = shown;
  return {
    ServiceID: shown.serviceId,
    ServiceName: shown.serviceName,
    Replicas: shown.replicas,
    ReadyTasks: shown.readyTasks,
    SetByHand: shown.setByHand,
    ...(spec && {
      Autoscale: autoscaleSpec.encode(spec),
      // The same in words, as declared, and with what is in force where it says nothing.
      Settings: settingsOf(spec),
      Effective: settingsOf(withAutoscaleDefaults(spec)),
    }),
    ...(last && { Last: recordJson(last) }),
    Records: shown.records.map((record, index) => {
      const replay = shown.replayed[index];
      return {
        ...recordJson(record),
        ...(replay && {
          Replay: {
            ...(replay.again && { Again: recordJson(replay.again) }),
            Differs: replay.differs,
          },
        }),
      };
    }),
  };
}

/** The short form, beside a service's UpdateStatus. */
export function autoscaleStatusJson({ last, records, replicas, setByHand }: ServiceAutoscaling) {
  const scaled = records.findLast(({ from, to, held }) => from !== to && !held);
  return {
    Replicas: replicas,
    SetByHand: setByHand,
    ...(last && { Reason: last.reason, Message: last.message, At: rfc3339(last.atMs) }),
    ...(scaled && { LastScale: rfc3339(scaled.atMs) }),
  };
}

function recordJson(record: ScaleRecord) {
  return {
    At: rfc3339(record.atMs),
    From: record.from,
    To: record.to,
    Reason: record.reason,
    Message: record.message,
    Metrics: record.metrics.map(readingJson),
    Proposed: record.proposed,
    Stabilized: record.stabilized,
    Limited: record.limited,
    Held: record.held,
  };
}

function readingJson(reading: MetricReading) {
  const { value, ratio, proposal, fastValue, error } = reading;
  return {
    Name: reading.name,
    ...(value !== undefined && { Value: value }),
    Target: reading.target,
    ...(ratio !== undefined && { Ratio: ratio }),
    Counted: reading.counted,
    Missing: reading.missing,
    NotReady: reading.notReady,
    ...(proposal !== undefined && { Proposal: proposal }),
    ...(fastValue !== undefined && { FastValue: fastValue }),
    ...(error !== '' && { Error: error }),
  };
}
