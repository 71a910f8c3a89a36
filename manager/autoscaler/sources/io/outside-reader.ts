import type { Clock } from '../../../../shared/clock.ts';
import { ShoalError } from '../../../../shared/errors.ts';
import type { Log } from '../../../../shared/log.ts';
import type { Random } from '../../../../shared/random.ts';
import type { ReadView } from '../../../store/types.ts';
import type { OutsideMetric, OutsideReader } from '../../sources.ts';
import { Connections } from '../connections.ts';
import { Follower, type Source } from '../follower.ts';
import { Access, type AccessDeps } from './access.ts';
import { type HttpConnection, httpSource, prometheusSource } from './http.ts';
import { Names } from './names.ts';
import { type NatsConnection, natsSource } from './nats.ts';
import { type RedisConnection, redisSource } from './redis.ts';

export type OutsideReaderDeps = Readonly<{
  /** For the secrets that metrics name, and the services that addresses name. */
  store: Pick<ReadView, 'get' | 'all' | 'byName'>;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Reads metrics from Redis, NATS, Prometheus and pages of JSON, from this host. One for each term of a leader. */
export function createOutsideReader({ store, ...deps }: OutsideReaderDeps): OutsideReader {
  const access: AccessDeps = {
    services: {
      byId: (id) => store.get('service', id),
      byName: (name) => store.byName('service', name),
      all: () => store.all('service'),
    },
    secret: (name) => store.byName('secret', name)?.spec?.data,
    names: new Names(deps.clock),
  };
  const connections: AllConnections = {
    redis: new Connections(),
    nats: new Connections(),
    http: new Connections(),
  };
  return new Follower({ ...deps, open: (metric) => sourceOf(metric, access, connections) });
}

type AllConnections = Readonly<{
  redis: Connections<RedisConnection>;
  nats: Connections<NatsConnection>;
  http: Connections<HttpConnection>;
}>;

function sourceOf(
  { key, metric: { kind } }: OutsideMetric,
  deps: AccessDeps,
  connections: AllConnections,
): Source {
  const [serviceId = ''] = key.split('/');
  const access = new Access(deps, serviceId);
  switch (kind?.$case) {
    case 'redisList':
    case 'redisStream':
      return redisSource(kind.value, access, connections.redis);
    case 'nats':
      return natsSource(kind.value, access, connections.nats);
    case 'prometheus':
      return prometheusSource(kind.value, access, connections.http);
    case 'http':
      return httpSource(kind.value, access, connections.http);
    default:
      return noSource(kind?.$case ?? 'none');
  }
}

/** Metrics that agents measure are not asked for here: to do so is a mistake, and does no harm. */
function noSource(kind: string): Source {
  const error = new ShoalError('invalid-argument', `${kind} is no metric of an outside source`);
  return {
    kind: 'queue',
    where: kind,
    close: () => undefined,
    read: () => Promise.reject(error),
  };
}
