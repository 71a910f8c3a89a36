import type { ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { ScaleReason } from './reasons.ts';

/** Of one service. */
const MOST_RECORDS = 50;
/** Of these, such as changed nothing: a reason that comes and goes must not drive out what was done. */
const MOST_UNCHANGED = 25;
/** Characters of one record's question, and of all records' together: the whole list is written with each record. */
const MOST_INPUT = 8 * 1024;
const MOST_INPUTS = 16 * 1024;

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

/** The list with one more, within its bounds. */
export function withRecord(records: readonly ScaleRecord[], added: ScaleRecord): ScaleRecord[] {
  const isLong = added.inputJson.length > MOST_INPUT;
  const all = [...records, inShort(isLong ? { ...added, inputJson: '' } : added)];
  const unchanged = all.filter((record) => !isChange(record));
  const surplus = new Set(unchanged.slice(0, Math.max(0, unchanged.length - MOST_UNCHANGED)));
  return withinInputs(all.filter((record) => !surplus.has(record)).slice(-MOST_RECORDS));
}

/** As it is kept: sixteen sources that fail have much to say, and an object has a largest size. */
export function inShort(record: ScaleRecord): ScaleRecord {
  return {
    ...record,
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

/** Whether the count was changed: what is held was not done. */
function isChange({ from, to, held }: ScaleRecord): boolean {
  return !held && from !== to;
}

/** The newest keep their questions. */
function withinInputs(records: readonly ScaleRecord[]): ScaleRecord[] {
  let left = MOST_INPUTS;
  const bounded = records.toReversed().map((record) => {
    left -= record.inputJson.length;
    return left >= 0 || record.inputJson === '' ? record : { ...record, inputJson: '' };
  });
  return bounded.toReversed();
}
