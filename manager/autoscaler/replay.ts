import type { AutoscaleSpec, ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';
import { decide } from './decide.ts';
import { decodeQuestion } from './kept-question.ts';
import { inShort } from './records.ts';

export type Replayed = Readonly<{
  record: ScaleRecord;
  /** What is decided from the record's input now; undefined: the record has none that is understood. */
  again: ScaleRecord | undefined;
  /** What of the decision is another: of a record that cannot be replayed `input`. */
  differs: readonly ('input' | 'to' | 'reason' | 'message' | 'held' | 'steps')[];
}>;

/**
 * Makes each decision again from what it was made from. With the spec undefined each record's own is
 * used, so that any difference is one of the program; with a spec the answer is what that
 * spec would have made of the same load and memory.
 */
export function replay(
  spec: AutoscaleSpec | undefined,
  records: readonly ScaleRecord[],
): Replayed[] {
  return records.map((record): Replayed => {
    const question = decodeQuestion(record.inputJson);
    if (question === undefined) return { record, again: undefined, differs: ['input'] };
    const { memory, input } = question;
    const again = inShort(decide(spec ?? question.spec, memory, input, record.atMs).record);
    const differs: Replayed['differs'][number][] = [];
    if (again.to !== record.to || again.from !== record.from) differs.push('to');
    if (again.reason !== record.reason) differs.push('reason');
    if (again.message !== record.message) differs.push('message');
    if (again.held !== record.held) differs.push('held');
    const steps = ({ proposed, stabilized, limited }: ScaleRecord) =>
      `${proposed} ${stabilized} ${limited}`;
    if (steps(again) !== steps(record)) differs.push('steps');
    return { record, again, differs };
  });
}
