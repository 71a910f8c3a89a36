import { messageOf } from '../../../shared/errors.ts';
import type { AutoscaleMetric, AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import type { Resources, ServiceSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import { metricName, withAutoscaleDefaults } from '../../../shared/model/autoscale.ts';
import { metricKey } from '../../../shared/model/autoscale-settings-of.ts';
import {
  parseHttpUrl,
  parseNatsUrls,
  parseRedisAddresses,
} from '../../autoscaler/sources/address.ts';
import { parseJsonPath } from '../../autoscaler/sources/json-path.ts';
import type { Judged, Where } from './autoscale-judged.ts';

/** Each decision looks at all of them. */
const MOST_METRICS = 16;
/** Of a name that is made of a key or a stream: each record has it twice. */
const MOST_NAME = 256;

/** What a service is scaled by. */
export function checkMetrics(judged: Judged, service: ServiceSpec, spec: AutoscaleSpec): void {
  const { metrics } = spec;
  if (metrics.length > MOST_METRICS) {
    judged.wrong(['Metrics', ''], `are ${metrics.length}: at most ${MOST_METRICS} are looked at`);
    return;
  }
  if (metrics.length === 0) {
    const [cpu] = withAutoscaleDefaults(spec).metrics;
    if (cpu?.kind?.$case === 'cpu')
      checkResource(judged, service, ['Metrics', ''], 'cpu', cpu.kind.value);
    return;
  }
  const seen = new Set<string>();
  metrics.forEach((metric, index) => {
    const name = metricName(metric);
    if (metric.name === '' && name.length > MOST_NAME) {
      judged.wrong(
        [`Metrics[${index}]`, metricKey(metrics, index)],
        `needs a name of its own: what it reads makes one of ${name.length} characters, and at most ${MOST_NAME} are shown`,
      );
    }
    if (seen.has(name)) {
      judged.wrong(
        [`Metrics[${index}].Name`, metricKey(metrics, index)],
        `${JSON.stringify(name)} is given twice: give each metric a name of its own`,
      );
    }
    seen.add(name);
    checkMetric(judged, service, spec, metric, index);
  });
}

function checkMetric(
  judged: Judged,
  service: ServiceSpec,
  spec: AutoscaleSpec,
  metric: AutoscaleMetric,
  index: number,
): void {
  const { kind } = metric;
  const path = `Metrics[${index}]`;
  const key = metricKey(spec.metrics, index);
  if (metric.name.length > 64) judged.wrong([`${path}.Name`, key], 'is longer than 64 characters');
  if (kind === undefined) {
    judged.wrong([path, key], 'says nothing to measure: give CPU, Memory, Requests or another');
    return;
  }
  switch (kind.$case) {
    case 'cpu':
      checkResource(judged, service, [`${path}.CPU`, key], 'cpu', kind.value);
      return;
    case 'memory':
      checkResource(judged, service, [`${path}.Memory`, key], 'memory', kind.value);
      return;
    case 'network':
      judged.above0([`${path}.Network.PerReplica`, key], kind.value.perReplica);
      if (isOnNetwork(service, 'host')) {
        judged.wrong([`${path}.Network`, key], 'cannot be told apart on network host');
      }
      return;
    case 'pids':
      judged.above0([`${path}.Pids.PerReplica`, key], kind.value.perReplica);
      return;
    case 'requests':
      checkCounted(judged, service, [`${path}.Requests`, key], kind.value.perReplica);
      return;
    case 'connections':
      checkCounted(judged, service, [`${path}.Connections`, key], kind.value.perReplica);
      return;
    default:
      checkSource(judged, kind, path, key);
  }
}

/** Of cpu and memory: a share of what a task is given, or an amount. */
function checkResource(
  judged: Judged,
  service: ServiceSpec,
  [path, key]: Where,
  resource: 'cpu' | 'memory',
  { utilization, average }: { utilization?: number | undefined; average?: number | undefined },
): void {
  if ((utilization === undefined) === (average === undefined)) {
    judged.wrong([path, key], 'needs one of Utilization and Average');
    return;
  }
  if (average !== undefined) {
    judged.above0([`${path}.Average`, key], average);
    return;
  }
  if (utilization === undefined) return;
  const isDefault = path === 'Metrics';
  const field: Where = isDefault ? [path, key] : [`${path}.Utilization`, key];
  judged.above0(field, utilization);
  const { limits, reservations } = service.task?.resources ?? {};
  if (amountOf(resource, reservations) > 0 || amountOf(resource, limits) > 0) return;
  const [reserve, instead] =
    resource === 'cpu'
      ? ['reservations.cpus', 'cores, like 0.5']
      : ['reservations.memory', 'a size, like 512MiB'];
  const subject = isDefault
    ? 'names no metric, so that the share of its CPU that a task uses is looked at, which'
    : `${Math.round(utilization * 1000) / 10}%`;
  judged.wrong(
    field,
    `${subject} is a share of what a task reserves, and it reserves none: set resources.${reserve} (or limits), or give ${isDefault ? 'another metric' : instead}`,
  );
}

/** What is counted on the way to the service's virtual address. */
function checkCounted(
  judged: Judged,
  service: ServiceSpec,
  [path, key]: Where,
  perReplica: number,
): void {
  judged.above0([`${path}.PerReplica`, key], perReplica);
  const { endpoint, task } = service;
  const why =
    endpoint?.mode === 'dnsrr'
      ? 'endpoint mode dnsrr gives it none: use vip'
      : isOnNetwork(service, 'host') || isOnNetwork(service, 'none')
        ? 'a task on network host or none has none'
        : (task?.networks.length ?? 0) === 0 &&
            !endpoint?.ports.some(({ publishMode }) => publishMode !== 'host')
          ? 'it is in no network and publishes no port in ingress mode'
          : undefined;
  if (why !== undefined) {
    judged.wrong([path, key], `are counted on the service’s virtual address, and ${why}`);
  }
}

function isOnNetwork(service: ServiceSpec, name: string): boolean {
  return service.task?.networks.some(({ target }) => target === name) ?? false;
}

function checkSource(judged: Judged, kind: SourceKind, path: string, key: string): void {
  const at = (field: string, leaf: string): Where => [
    `${path}.${SOURCE_FIELDS[kind.$case]}.${field}`,
    `${key}.${leaf}`,
  ];
  const needed = (field: string, leaf: string, value: string) => {
    if (value === '') judged.wrong(at(field, leaf), 'is missing');
  };
  const parsed = (field: string, leaf: string, value: string, parse: (text: string) => void) => {
    if (value === '') {
      judged.wrong(at(field, leaf), 'is missing');
      return;
    }
    try {
      parse(value);
    } catch (error) {
      judged.wrong(at(field, leaf), `is wrong: ${messageOf(error)}`);
    }
  };
  switch (kind.$case) {
    case 'redisList':
    case 'redisStream':
      parsed('Address', 'address', kind.value.address, parseRedisAddresses);
      if (kind.$case === 'redisList') needed('Key', 'key', kind.value.key);
      else needed('Stream', 'stream', kind.value.stream);
      break;
    case 'nats':
      parsed('URL', 'url', kind.value.url, parseNatsUrls);
      needed('Stream', 'stream', kind.value.stream);
      needed('Consumer', 'consumer', kind.value.consumer);
      break;
    case 'prometheus':
      parsed('URL', 'url', kind.value.url, parseHttpUrl);
      needed('Query', 'query', kind.value.query);
      break;
    case 'http':
      parsed('URL', 'url', kind.value.url, parseHttpUrl);
      if (kind.value.path !== '') parsed('Path', 'path', kind.value.path, parseJsonPath);
      break;
  }
  if (kind.$case !== 'nats' && kind.value.auth?.credentialsSecret) {
    judged.wrong(
      at('Auth.CredentialsSecret', 'credentials-secret'),
      'is for NATS: this is read with a password or token',
    );
  }
  const { perReplica = 0, activation = 0 } = kind.value.target ?? {};
  judged.above0(at('PerReplica', 'per-replica'), perReplica);
  if (!(activation >= 0)) {
    judged.wrong(at('Activation', 'activation'), `cannot be negative, as ${activation} is`);
  }
}

type SourceKind = Extract<
  NonNullable<AutoscaleMetric['kind']>,
  { $case: 'redisList' | 'redisStream' | 'nats' | 'prometheus' | 'http' }
>;

const SOURCE_FIELDS: Readonly<Record<SourceKind['$case'], string>> = {
  redisList: 'RedisList',
  redisStream: 'RedisStream',
  nats: 'Nats',
  prometheus: 'Prometheus',
  http: 'HTTP',
};

/** Whether it tells of load while nothing runs. */
export function isReadAtZero({ kind }: AutoscaleMetric): boolean {
  return kind !== undefined && !['cpu', 'memory', 'network', 'pids'].includes(kind.$case);
}

function amountOf(resource: 'cpu' | 'memory', resources: Resources | undefined): number {
  return (resource === 'cpu' ? resources?.nanoCpus : resources?.memoryBytes) ?? 0;
}
