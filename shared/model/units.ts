/** Specs carry durations in nanoseconds (Docker's unit), programs count in milliseconds. */
export const NS_PER_MS = 1_000_000;
export const NS_PER_SECOND = 1_000_000_000;
/** One CPU in the unit of specs. */
export const NANO_CPUS_PER_CPU = 1_000_000_000;
export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Milliseconds, rounded up: a delay never ends early and one above zero never becomes none. */
export function nsToMs(durationNs: number): number {
  return Math.ceil(durationNs / NS_PER_MS);
}

export function msToNs(durationMs: number): number {
  return Math.round(durationMs * NS_PER_MS);
}
