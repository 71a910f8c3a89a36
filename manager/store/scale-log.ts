import type { ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Autoscaling } from '../../shared/gen/shoal/v1/objects.ts';

// The log of decisions beside a scaled service. Bounded by every replica as it applies a decision: another bound here is
// another state machine.

/** Of one service. */
const MOST_RECORDS = 50;
/** Of these, such as changed nothing: a reason that comes and goes must not drive out what was done. */
const MOST_UNCHANGED = 25;
/** Characters of all records' questions together. */
const MOST_INPUTS = 16 * 1024;

/** The list with one more, within its bounds. What stays is the same object. */
export function withRecord(records: readonly ScaleRecord[], added: ScaleRecord): ScaleRecord[] {
  const all = [...records, added];
  const unchanged = all.filter((record) => !isChange(record));
  const surplus = new Set(unchanged.slice(0, Math.max(0, unchanged.length - MOST_UNCHANGED)));
  return withinInputs(all.filter((record) => !surplus.has(record)).slice(-MOST_RECORDS));
}

/** Whether a change of the log put a record to it: else only what is remembered changed, which is for the leader alone. */
export function hasNewRecord(
  object: Pick<Autoscaling, 'records'>,
  previous: Pick<Autoscaling, 'records'> | undefined,
): boolean {
  return object.records.at(-1) !== previous?.records.at(-1);
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
