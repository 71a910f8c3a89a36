import type { ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { ScaleReason } from './reasons.ts';

/** Characters of what it was decided from; a longer question is left out. */
const MOST_INPUT = 8 * 1024;
/** Characters of what is said for people: of a record, and of a metric that cannot be read. */
const MOST_MESSAGE = 1_000;
const MOST_ERROR = 200;

/** Of a decision that leaves the count as it is, and needed no metric for that. */
export function plainRecord(
  replicas: number,
  reason: ScaleReason,
  message: string,
  atMs: number,
): ScaleRecord {
  return {
    atMs,
    from: replicas,
    to: replicas,
    reason,
    message,
    metrics: [],
    proposed: replicas,
    stabilized: replicas,
    limited: replicas,
    held: false,
    inputJson: '',
  };
}

/** As it is kept: sixteen sources that fail have much to say, and an object has a largest size. */
export function inShort(record: ScaleRecord): ScaleRecord {
  return {
    ...record,
    inputJson: record.inputJson.length > MOST_INPUT ? '' : record.inputJson,
    message: cut(record.message, MOST_MESSAGE),
    metrics: record.metrics.map((metric) =>
      metric.error.length > MOST_ERROR
        ? { ...metric, error: cut(metric.error, MOST_ERROR) }
        : metric,
    ),
  };
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
