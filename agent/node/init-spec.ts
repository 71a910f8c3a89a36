import { ShoalError } from '../../shared/errors.ts';
import type { ClusterSpecInput } from '../../shared/manager-start.ts';

/** Swarm's Spec of an init, as far as it can be set there. */
export function clusterSpec(raw: unknown): ClusterSpecInput {
  if (raw === undefined || raw === null) return {};
  if (typeof raw !== 'object') throw new ShoalError('invalid-argument', 'Spec must be an object');
  const spec = raw as {
    Labels?: Record<string, string> | null;
    Orchestration?: { TaskHistoryRetentionLimit?: number } | null;
    Raft?: { SnapshotInterval?: number } | null;
    Dispatcher?: { HeartbeatPeriod?: number } | null;
    CAConfig?: { NodeCertExpiry?: number } | null;
    EncryptionConfig?: { AutoLockManagers?: boolean } | null;
  };
  const expiryNs = spec.CAConfig?.NodeCertExpiry;
  if (expiryNs !== undefined && expiryNs !== 0 && expiryNs < 3_600e9) {
    throw new ShoalError('invalid-argument', 'minimum certificate expiry time is 1h0m0s');
  }
  return {
    ...(spec.Labels ? { labels: spec.Labels } : {}),
    ...(spec.Orchestration?.TaskHistoryRetentionLimit !== undefined
      ? { taskHistoryLimit: spec.Orchestration.TaskHistoryRetentionLimit }
      : {}),
    ...(spec.Raft?.SnapshotInterval ? { snapshotInterval: spec.Raft.SnapshotInterval } : {}),
    ...(spec.Dispatcher?.HeartbeatPeriod
      ? { dispatcherHeartbeatNs: spec.Dispatcher.HeartbeatPeriod }
      : {}),
    ...(expiryNs ? { nodeCertExpiryNs: expiryNs } : {}),
    ...(spec.EncryptionConfig?.AutoLockManagers ? { autolockManagers: true } : {}),
  };
}
