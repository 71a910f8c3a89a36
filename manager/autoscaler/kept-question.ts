import type { AutoscaleSpec, ScaleMemory } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { DecisionInput } from './types.ts';

/** All that a decision was made from but the time, which the record has. */
export type KeptQuestion = Readonly<{
  spec: AutoscaleSpec;
  memory: ScaleMemory;
  input: DecisionInput;
}>;

/** For a record's `inputJson`. About 1 kB for ten tasks. */
export function encodeQuestion(
  spec: AutoscaleSpec,
  memory: ScaleMemory,
  input: DecisionInput,
): string {
  const question: KeptQuestion = { spec, memory, input };
  return JSON.stringify(question);
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
