import { ShoalError } from '../errors.ts';
import { ClusterSpec } from '../gen/shoal/v1/objects.ts';
import { DATA_PATH_PORT } from '../manager-start.ts';
import { cidrsOverlap, formatCidr, parseCidr } from './cidr.ts';
import { checkLabels } from './labels.ts';
import { NS_PER_MS, NS_PER_SECOND } from './units.ts';

const HOUR_NS = 3600 * NS_PER_SECOND;
const MIN_CERT_EXPIRY_NS = HOUR_NS;
const MIN_HEARTBEAT_NS = 100 * NS_PER_MS;
const DATA_PATH_PORTS = [1024, 49_151] as const;
/** At least a few addresses beside the network's own. */
const MAX_SUBNET_SIZE = 29;

/** Where overlay subnets are cut from when nothing is said, and how long their prefixes are. Docker's. */
export const DEFAULT_ADDRESS_POOLS: readonly string[] = ['10.0.0.0/8'];
export const DEFAULT_SUBNET_SIZE = 24;

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
    throw new ShoalError(
      'unimplemented',
      `TaskDefaults: log driver ${JSON.stringify(driver)} is not supported yet: use json-file`,
    );
  }
}

/** What a cluster begins with and keeps for its life. */
export type AddressPools = Readonly<{ defaultAddressPools: readonly string[]; subnetSize: number }>;

/**
 * Of a new cluster, as `swarm init` asks for it; empty and 0 take the defaults. Throws ShoalError
 * `invalid-argument` or `unimplemented` for what a cluster cannot begin with.
 */
export function newClusterSpec(given: ClusterSpec): ClusterSpec {
  const spec = completeClusterSpec(given, DEFAULT_CLUSTER_SPEC);
  checkClusterSpec(spec, DEFAULT_CLUSTER_SPEC);
  return spec;
}

/** As `newClusterSpec`. */
export function newAddressPools(given: AddressPools): AddressPools {
  const { length } = given.defaultAddressPools;
  const defaultAddressPools = length > 0 ? given.defaultAddressPools : DEFAULT_ADDRESS_POOLS;
  const subnetSize = given.subnetSize || DEFAULT_SUBNET_SIZE;
  checkAddressPools(defaultAddressPools, subnetSize);
  return { defaultAddressPools, subnetSize };
}

/** As `newClusterSpec`. */
export function newDataPathPort(given: number): number {
  const port = given || DATA_PATH_PORT;
  const [lowest, highest] = DATA_PATH_PORTS;
  if (port < lowest || port > highest) {
    throw invalid(`Datapath port number is not in valid range (${lowest}-${highest}) : ${port}`);
  }
  return port;
}

function checkAddressPools(pools: readonly string[], subnetSize: number): void {
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

function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message);
}
