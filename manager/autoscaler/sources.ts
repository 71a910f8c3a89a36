import type { AutoscaleMetric } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { MetricInput } from './types.ts';

/** A metric whose value is outside of the cluster's own measurements. */
export type OutsideMetric = Readonly<{
  /** Unique among all that are followed: `SERVICE_ID/METRIC`. */
  key: string;
  metric: AutoscaleMetric;
}>;

/** What was read last: a value, or why there is none. */
export type OutsideReading = Extract<MetricInput, { kind: 'value' | 'error' }>;

/**
 * Reads values outside of the cluster, in the background: whoever asks for one never waits for a source. It lives as
 * long as this manager leads.
 */
export interface OutsideReader {
  /**
   * Exactly these are read from now on, each every two seconds. One with the same key and another metric
   * begins anew: nothing of the former one is told. Cheap when nothing changed.
   */
  follow(wanted: readonly OutsideMetric[]): void;
  /**
   * Undefined: not read yet, or not followed. Both windows of a queue's value are the last reading: its length is what
   * it is now. Of a gauge (a query, a page) the stable one is a mean. After a failed reading, or when the last one is
   * too old to be believed, it is an error, with the failures in a row.
   */
  latest(key: string): OutsideReading | undefined;
  /** Gives up what is under way. */
  close(): Promise<void>;
}
