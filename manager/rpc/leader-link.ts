import { NotLeaderError } from '../../shared/errors.ts';
import type {
  AwaitAppliedRequest,
  AwaitAppliedResponse,
  LivenessDigest,
  SampleBatch,
  TaskStatusBatch,
} from '../../shared/gen/shoal/v1/peer.ts';
import type { Autoscaler } from '../autoscaler/autoscaler.ts';
import type { LeaderLink } from '../dispatcher/dispatcher.ts';
import type { LeaderLiveness } from '../dispatcher/leader-liveness.ts';
import type { Consensus } from '../raft/consensus.ts';
import { taskStatusAction } from '../store/tables.ts';
import type { Writer } from '../store/types.ts';
import { writeInBatches } from '../store/writer.ts';
import { routeTo } from './forward.ts';

/** What the leader does with the reports of managers, its own included. */
export interface LeaderSide {
  /** Resolves once committed. */
  takeStatuses(batch: TaskStatusBatch, signal: AbortSignal): Promise<void>;
  /** Throws NotLeaderError while it is not ready for digests. */
  takeDigest(digest: LivenessDigest): void;
  /** Throws NotLeaderError as `takeDigest` does. */
  takeSamples(batch: SampleBatch): void;
  /** Throws NotLeaderError as `takeDigest` does. */
  awaitApplied(request: AwaitAppliedRequest, signal: AbortSignal): Promise<AwaitAppliedResponse>;
}

export function leaderSide(
  writer: Writer,
  liveness: Pick<LeaderLiveness, 'report' | 'awaitApplied'>,
  autoscaler: Pick<Autoscaler, 'report'>,
  followers: (networkIds: readonly string[]) => Iterable<string>,
): LeaderSide {
  return {
    takeStatuses: ({ changes }, signal) =>
      writeInBatches(
        writer,
        changes.flatMap(({ taskId, status }) => (status ? [taskStatusAction(taskId, status)] : [])),
        signal,
      ),
    takeDigest: (digest) => liveness.report(digest),
    takeSamples: (batch) => autoscaler.report(batch),
    awaitApplied: ({ revision, networkIds, withinMs }, signal) =>
      liveness.awaitApplied(revision, () => followers(networkIds), withinMs, signal),
  };
}

/** The calls to another manager that carry reports. */
export interface ReportCalls {
  reportTaskStatuses(address: string, batch: TaskStatusBatch, signal: AbortSignal): Promise<void>;
  reportLiveness(address: string, digest: LivenessDigest, signal: AbortSignal): Promise<void>;
  reportSamples(address: string, batch: SampleBatch, signal: AbortSignal): Promise<void>;
  awaitApplied(
    address: string,
    request: AwaitAppliedRequest,
    signal: AbortSignal,
  ): Promise<AwaitAppliedResponse>;
}

/**
 * To whoever leads now. It neither waits for a leader nor tries again: who reports does, with what is
 * new by then.
 */
export function leaderLink(
  consensus: Pick<Consensus, 'status'>,
  side: LeaderSide,
  calls: ReportCalls,
): LeaderLink {
  const address = (): string | undefined => {
    const route = routeTo(consensus.status());
    if (route.kind === 'unknown') throw new NotLeaderError(undefined);
    return route.kind === 'there' ? route.address : undefined;
  };
  return {
    async reportTaskStatuses(batch, signal) {
      const there = address();
      if (there === undefined) await side.takeStatuses(batch, signal);
      else await calls.reportTaskStatuses(there, batch, signal);
    },
    async reportLiveness(digest, signal) {
      const there = address();
      if (there === undefined) side.takeDigest(digest);
      else await calls.reportLiveness(there, digest, signal);
    },
    async reportSamples(batch, signal) {
      const there = address();
      if (there === undefined) side.takeSamples(batch);
      else await calls.reportSamples(there, batch, signal);
    },
    async awaitApplied(request, signal) {
      const there = address();
      return there === undefined
        ? side.awaitApplied(request, signal)
        : calls.awaitApplied(there, request, signal);
    },
  };
}
