/** Share of a core; a manager without work to do stays below 0.03. */
const IDLE_RATIO = 0.1;
/** Idle checks in a row: a pause between two requests is not yet idleness. */
const IDLE_CHECKS = 2;
/** What a collection may give back, at least, to be worth its pause. */
const WORTH_BYTES = 3 * 2 ** 20;
/** Above this a collection is left to V8: it would hold up a request that comes in meanwhile for too long. */
const LARGEST_HEAP_BYTES = 96 * 2 ** 20;

/**
 * `busyRatio`: the thread's share of a core. `heldBytes`: what this thread holds, and may hold for nothing; more than
 * the heap where it includes buffers.
 */
export type MemorySample = Readonly<{ busyRatio: number; heapBytes: number; heldBytes: number }>;

/** `idleChecks` so far in a row; `settledBytes`: held after the last collection, 0 before the first. */
export type TrimState = Readonly<{ idleChecks: number; settledBytes: number }>;

export const TRIM_START: TrimState = { idleChecks: 0, settledBytes: 0 };

/** Whether to collect now: idle for long enough, and more there than the last collection left. */
export function judgeTrim(
  state: TrimState,
  { busyRatio, heapBytes, heldBytes }: MemorySample,
): Readonly<{ state: TrimState; collect: boolean }> {
  const idleChecks = busyRatio > IDLE_RATIO ? 0 : Math.min(state.idleChecks + 1, IDLE_CHECKS);
  const collect =
    idleChecks >= IDLE_CHECKS &&
    heapBytes <= LARGEST_HEAP_BYTES &&
    heldBytes >= state.settledBytes + WORTH_BYTES;
  return { state: { ...state, idleChecks }, collect };
}
