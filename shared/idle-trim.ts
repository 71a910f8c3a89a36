/** Share of a core; a manager without work to do stays below 0.03. */
const IDLE_RATIO = 0.1;
/** Idle checks in a row before the first collection: a pause between two requests is not yet idleness. */
const IDLE_CHECKS = 2;
/** Each further one waits twice as long, up to 256 checks: a collection costs a tenth of a second of CPU. */
const MOST_DOUBLINGS = 7;
/** What a collection may give back, at least, to be worth its pause. */
const WORTH_BYTES = 3 * 2 ** 20;
/** Above this a collection is left to V8: it would hold up a request that comes in meanwhile for too long. */
const LARGEST_HEAP_BYTES = 96 * 2 ** 20;

/**
 * `busyRatio`: the thread's share of a core. `heldBytes`: what this thread holds, and may hold for nothing; more than
 * the heap where it includes buffers.
 */
export type MemorySample = Readonly<{ busyRatio: number; heapBytes: number; heldBytes: number }>;

/** In a row since the last busy check: `collections`, and `idleChecks` since the last of them; `settledBytes`: held after it, 0 before the first. */
export type TrimState = Readonly<{
  idleChecks: number;
  collections: number;
  settledBytes: number;
}>;

export const TRIM_START: TrimState = { idleChecks: 0, collections: 0, settledBytes: 0 };

/** Whether to collect now: idle for long enough, and more there than the last collection left. */
export function judgeTrim(
  state: TrimState,
  { busyRatio, heapBytes, heldBytes }: MemorySample,
): Readonly<{ state: TrimState; collect: boolean }> {
  if (busyRatio > IDLE_RATIO) {
    return { state: { ...state, idleChecks: 0, collections: 0 }, collect: false };
  }
  const { collections, settledBytes } = state;
  const idleChecks = state.idleChecks + 1;
  const due = IDLE_CHECKS * 2 ** Math.min(collections, MOST_DOUBLINGS);
  // The second finds what the first could not yet: code that ran before it and not since.
  const worth = collections === 1 || heldBytes >= settledBytes + WORTH_BYTES;
  if (idleChecks < due || heapBytes > LARGEST_HEAP_BYTES || !worth) {
    return { state: { ...state, idleChecks }, collect: false };
  }
  return { state: { ...state, idleChecks: 0, collections: collections + 1 }, collect: true };
}
