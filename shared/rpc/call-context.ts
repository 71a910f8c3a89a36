import type { Caller } from './caller.ts';

/** What a handler knows of its call beside the request. */
export type CallContext = Readonly<{
  /** Undefined: no certificate, or one that does not verify. */
  caller: Caller | undefined;
  /** Aborts when the client cancels, its connection is lost, or the deadline passes. */
  signal: AbortSignal;
  /** First value of a metadata key. */
  metadata: (key: string) => string | undefined;
  /** When the client stops waiting, wall time; undefined: never. */
  deadlineAtMs: number | undefined;
}>;
