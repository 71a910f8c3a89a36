import type {
  AutoscaleSpec,
  ScaleMemory,
  ScaleRecord,
} from '../../shared/gen/shoal/v1/autoscale.ts';
import type { DecisionInput } from './types.ts';

/** All that a decision was made from but the time, which the record has. */
export type KeptQuestion = Readonly<{
  spec: AutoscaleSpec;
  memory: ScaleMemory;
  input: DecisionInput;
}>;

/**
 * The record with what it was decided from: about 1 kB for ten tasks, and more work than the decision itself. So
 * it is done for records that are kept, and not for each decision.
 */
export function withQuestion(record: ScaleRecord, question: KeptQuestion): ScaleRecord {
  const { spec, memory, input } = question;
  const whole: KeptQuestion = { spec, memory, input };
  return { ...record, inputJson: JSON.stringify(whole) };
}

/** Undefined when the text is not a question that this version understands. */
export function decodeQuestion(json: string): KeptQuestion | undefined {
  let found: Partial<KeptQuestion> | null;
  try {
    found = JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const { spec, memory, input } = found ?? {};
  const sound =
    Array.isArray(spec?.metrics) &&
    Array.isArray(memory?.recommendations) &&
    Array.isArray(input?.tasks);
  return sound && spec && memory && input ? { spec, memory, input } : undefined;
}
