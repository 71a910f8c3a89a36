import { ClusterSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import { cidrsOverlap, formatCidr, parseCidr } from '../../../shared/model/cidr.ts';
import { NS_PER_MS, NS_PER_SECOND } from '../../../shared/model/units.ts';
import { invalid, unimplemented } from '../refuse.ts';
import { checkLabels } from './names.ts';

const HOUR_NS = 3600 * NS_PER_SECOND;
const MIN_CERT_EXPIRY_NS = HOUR_NS;
const MIN_HEARTBEAT_NS = 100 * NS_PER_MS;
const DATA_PATH_PORTS = [1024, 49_151] as const;
/** At least a few addresses beside the network's own. */
const MAX_SUBNET_SIZE = 29;

/** What holds where an operator said nothing: Swarm's, but for the heartbeat (five times as often). */
export const DEFAULT_CLUSTER_SPEC: ClusterSpec = ClusterSpec.fromPartial({
  name: 'default',
  taskHistoryLimit: 5,
  snapshotInterval: 10_000,
  keepOldSnapshots: 0,
  logEntriesForSlowFollowers: 500,
  electionTick: 10, // ticks of 100 ms
  heartbeatTick: 1,
  dispatcherHeartbeatNs: NS_PER_SECOND,
  nodeCertExpiryNs: 90 * 24 * HOUR_NS,
});

/** Where 0 makes no sense it means "as before", which is how clients leave them out. */
export function completeClusterSpec(given: ClusterSpec, before: ClusterSpec): ClusterSpec {
  return {
    ...given,
    name: given.name || before.name,
    snapshotInterval: given.snapshotInterval || before.snapshotInterval,
    logEntriesForSlowFollowers:
      given.logEntriesForSlowFollowers || before.logEntriesForSlowFollowers,
    electionTick: given.electionTick || before.electionTick,
    heartbeatTick: given.heartbeatTick || before.heartbeatTick,
    dispatcherHeartbeatNs: given.dispatcherHeartbeatNs || before.dispatcherHeartbeatNs,
    nodeCertExpiryNs: given.nodeCertExpiryNs || before.nodeCertExpiryNs,
    forceRotate: given.forceRotate || before.forceRotate,
  };
}

/** Expects a completed spec; `before` is the one it replaces (the defaults, for a new cluster). */
export function checkClusterSpec(spec: ClusterSpec, before: ClusterSpec): void {
  if (spec.name !== before.name) throw invalid('cluster name is immutable');
  checkLabels('labels', spec.labels);
  if (spec.dispatcherHeartbeatNs < 0) {
    throw invalid('heartbeat time period cannot be a negative duration');
  }
  if (spec.dispatcherHeartbeatNs < MIN_HEARTBEAT_NS) {
    throw invalid('heartbeat time period must be at least 100ms');
  }
  if (spec.nodeCertExpiryNs < MIN_CERT_EXPIRY_NS) {
    throw invalid('minimum certificate expiry time is: 1h0m0s');
  }
  for (const field of [
    'snapshotInterval',
    'keepOldSnapshots',
    'logEntriesForSlowFollowers',
  ] as const) {
    if (spec[field] < 0) throw invalid(`Raft: ${field} cannot be negative`);
  }
  for (const field of ['electionTick', 'heartbeatTick'] as const) {
    if (spec[field] !== before[field]) {
      throw invalid(`Raft: ${field} cannot be changed: it is ${before[field]}`);
    }
  }
  const driver = spec.defaultLogDriver?.name ?? '';
  if (driver !== '' && driver !== 'json-file') {
    throw unimplemented(
      `TaskDefaults: log driver ${JSON.stringify(driver)} is not supported yet: use json-file`,
    );
  }
}

/** Where overlay subnets are cut from, fixed for the cluster's life. */
export function checkAddressPools(pools: readonly string[], subnetSize: number): void {
  const parsed = pools.map((text) => {
    const pool = parseCidr(text);
    if (pool === undefined || pool.family !== 4) {
      throw invalid(`default address pool ${JSON.stringify(text)} is not an IPv4 subnet`);
    }
    if (subnetSize < pool.prefix || subnetSize > MAX_SUBNET_SIZE) {
      throw invalid(
        `default address pool ${text}: a mask length of ${subnetSize} does not fit: it must be from ${pool.prefix} to ${MAX_SUBNET_SIZE}`,
      );
    }
    return pool;
  });
  for (const [i, pool] of parsed.entries()) {
    const other = parsed.slice(0, i).find((before) => cidrsOverlap(before, pool));
    if (other !== undefined) {
      throw invalid(`default address pools ${formatCidr(other)} and ${formatCidr(pool)} overlap`);
    }
  }
}

export function checkDataPathPort(port: number): void {
  const [lowest, highest] = DATA_PATH_PORTS;
  if (port < lowest || port > highest) {
    throw invalid(`Datapath port number is not in valid range (${lowest}-${highest}) : ${port}`);
  }
}
