import test from 'ava';
import {
  checkServiceSpec,
  completeServiceSpec,
} from '../../../../manager/control/validation/service-spec.ts';
import type { AutoscaleSpec } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { ServiceSpec } from '../../../../shared/gen/shoal/v1/objects.ts';
import type { MessageInitShape } from '../../../support/types.ts';

type Spec = MessageInitShape<typeof ServiceSpec>;
type Autoscale = MessageInitShape<typeof AutoscaleSpec>;
type Metric = NonNullable<Autoscale['metrics']>[number];

const S = 1e9;
const RESERVED: Spec = {
  name: 'web',
  task: {
    container: { image: 'web:1' },
    resources: { reservations: { nanoCpus: 5e8, memoryBytes: 2 ** 28 } },
  },
  endpoint: { ports: [{ targetPort: 80, publishedPort: 8080 }] },
};
const judge = (fields: Spec) =>
  checkServiceSpec(completeServiceSpec(ServiceSpec.fromPartial({ ...RESERVED, ...fields })));

const list = (value: object = {}): Metric => ({
  kind: {
    $case: 'redisList',
    value: { address: 'redis:6379', key: 'jobs', target: { perReplica: 5 }, ...value },
  },
});
const cpu = (value: object): Metric => ({ kind: { $case: 'cpu', value } });
const requests: Metric = { kind: { $case: 'requests', value: { perReplica: 200 } } };
const office = { cron: '0 8 * * 1-5', forNs: 36e12, min: 5, timezone: 'Europe/Paris' };

const ACCEPTED: [string, Autoscale, Spec?][] = [
  ['the defaults, with a reservation', { max: 5 }],
  [
    'the defaults, with a limit',
    { max: 5 },
    { task: { container: { image: 'i' }, resources: { limits: { nanoCpus: 5e8 } } } },
  ],
  ['min and max alike', { min: 3, max: 3 }],
  [
    'cores without a reservation',
    { max: 5, metrics: [cpu({ average: 0.5 })] },
    { task: { container: { image: 'i' } } },
  ],
  ['zero with requests', { min: 0, max: 5, metrics: [requests] }],
  ['zero with a queue', { min: 0, max: 5, metrics: [list(), cpu({ utilization: 0.7 })] }],
  ['a schedule', { max: 9, schedules: [office] }],
  ['a schedule with a max of its own', { max: 9, schedules: [{ ...office, min: 20, max: 30 }] }],
  ['two lists with keys of their own', { max: 5, metrics: [list(), list({ key: 'mails' })] }],
  ['anything where it is off', { mode: 'off', min: -3 }],
];
for (const [title, autoscale, fields] of ACCEPTED) {
  test(`a service may be scaled by ${title}`, (t) => {
    t.notThrows(() => judge({ ...fields, autoscale }));
  });
}

const REFUSED: [Autoscale, RegExp, Spec?][] = [
  [
    { mode: 'on', max: 5 },
    /^Autoscale\.Mode "on" is unknown: expected one of active, recommend, off$/,
  ],
  [{}, /^Autoscale\.Max must be at least 1, not 0/],
  [{ max: -1 }, /^Autoscale\.Max must be at least 1, not -1/],
  [{ max: 1_000_001 }, /^Autoscale\.Max must be at most 1000000/],
  [{ min: 6, max: 5 }, /^Autoscale\.Min 6 is more than the 5 of max$/],
  [{ min: -1, max: 5 }, /^Autoscale\.Min cannot be negative/],
  [{ min: 0, max: 5 }, /^Autoscale\.Min 0 needs a metric that can be read while nothing runs/],
  [{ max: 5 }, /^Autoscale needs a replicated service/, { mode: { $case: 'global', value: {} } }],
  [
    { max: 5 },
    /^Autoscale\.Metrics names no metric.*reserves none: set resources\.reservations\.cpus/,
    { task: { container: { image: 'i' } } },
  ],
  [
    { max: 5, metrics: [cpu({ utilization: 0.7 })] },
    /^Autoscale\.Metrics\[0\]\.CPU\.Utilization 70% is a share of what a task reserves.*cores, like 0\.5$/,
    { task: { container: { image: 'i' } } },
  ],
  [
    { max: 5, metrics: [{ kind: { $case: 'memory', value: { utilization: 0.8 } } }] },
    /^Autoscale\.Metrics\[0\]\.Memory\.Utilization 80% .*reservations\.memory.*512MiB$/,
    { task: { container: { image: 'i' }, resources: { limits: { nanoCpus: 5e8 } } } },
  ],
  [{ max: 5, metrics: [cpu({})] }, /^Autoscale\.Metrics\[0\]\.CPU needs one of/],
  [{ max: 5, metrics: [cpu({ utilization: 0.5, average: 1 })] }, /\.CPU needs one of/],
  [{ max: 5, metrics: [cpu({ utilization: 0 })] }, /\.CPU\.Utilization must be above 0, not 0$/],
  [{ max: 5, metrics: [cpu({ average: Number.NaN })] }, /\.CPU\.Average must be above 0/],
  [{ max: 5, metrics: [{}] }, /^Autoscale\.Metrics\[0\] says nothing to measure/],
  [
    { max: 5, metrics: [cpu({ average: 1 }), cpu({ utilization: 0.7 })] },
    /^Autoscale\.Metrics\[1\]\.Name "cpu" is given twice/,
  ],
  [{ max: 5, metrics: [list(), list()] }, /\.Name "redis-list jobs" is given twice/],
  [
    { max: 5, metrics: [list({ key: 'k'.repeat(300) })] },
    /^Autoscale\.Metrics\[0\] needs a name of its own/,
  ],
  [
    { max: 5, metrics: [requests] },
    /^Autoscale\.Metrics\[0\]\.Requests are counted on .* in no network and publishes no port/,
    { endpoint: {} },
  ],
  [
    { max: 5, metrics: [requests] },
    /endpoint mode dnsrr gives it none: use vip$/,
    { endpoint: { mode: 'dnsrr' } },
  ],
  [
    { max: 5, metrics: [requests] },
    /a task on network host or none has none$/,
    { endpoint: {}, task: { container: { image: 'i' }, networks: [{ target: 'host' }] } },
  ],
  [
    { max: 5, metrics: [{ kind: { $case: 'network', value: { perReplica: 1 } } }] },
    /\.Network cannot be told apart on network host$/,
    { endpoint: {}, task: { container: { image: 'i' }, networks: [{ target: 'host' }] } },
  ],
  [{ max: 5, metrics: [list({ address: '' })] }, /\.RedisList\.Address is missing$/],
  [{ max: 5, metrics: [list({ address: 'a b' })] }, /\.RedisList\.Address is wrong: .*host:port/],
  [
    { max: 5, metrics: [list({ auth: { credentialsSecret: 'nats' } })] },
    /\.RedisList\.Auth\.CredentialsSecret is for NATS/,
  ],
  [{ max: 5, metrics: [list({ key: '' })] }, /\.RedisList\.Key is missing$/],
  [{ max: 5, metrics: [list({ target: {} })] }, /\.RedisList\.PerReplica must be above 0, not 0$/],
  [
    { max: 5, metrics: [list({ target: { perReplica: 1, activation: -1 } })] },
    /\.RedisList\.Activation cannot be negative/,
  ],
  [
    {
      max: 5,
      metrics: [{ kind: { $case: 'nats', value: { url: 'http://n', target: { perReplica: 1 } } } }],
    },
    /\.Nats\.URL is wrong.*; .*\.Nats\.Stream is missing; .*\.Nats\.Consumer is missing$/,
  ],
  [
    {
      max: 5,
      metrics: [
        {
          kind: {
            $case: 'http',
            value: { url: 'http://u:p@h/', path: 'a..b', target: { perReplica: 1 } },
          },
        },
      ],
    },
    /\.HTTP\.URL is wrong: .*secret.*; .*\.HTTP\.Path is wrong/,
  ],
  [{ max: 5, toleranceDown: 1 }, /^Autoscale\.ToleranceDown must be from 0% to 99%, not 100%$/],
  [{ max: 5, up: { stabilizeNs: 7200 * S } }, /^Autoscale\.Up\.Stabilize must be from 0s to 3600s/],
  [{ max: 5, down: { select: 'none' } }, /^Autoscale\.Down\.Select "none" is unknown/],
  [{ max: 5, up: { policies: [{ periodNs: S }] } }, /^Autoscale\.Up\.Policies\[0\] needs Tasks or/],
  [
    { max: 5, up: { policies: [{ change: { $case: 'tasks', value: 0 }, periodNs: 0 }] } },
    /^Autoscale\.Up\.Policies\[0\]\.Period must be .*; Autoscale\.Up\.Policies\[0\]\.Tasks must be/,
  ],
  [{ max: 5, fast: { windowNs: 0.5 * S } }, /^Autoscale\.Fast\.Window must be from 1s to/],
  [{ max: 5, fast: { threshold: 0.5 } }, /^Autoscale\.Fast\.Threshold must be from 100% to/],
  [{ max: 5, warmupNs: 1e15 }, /^Autoscale\.Warmup must be from/],
  [{ max: 5, cooldownToZeroNs: -1 }, /^Autoscale\.CooldownToZero must be from/],
  [{ max: 5, onError: { after: 3, replicas: 6 } }, /^Autoscale\.OnError\.Replicas 6 is not within/],
  [{ max: 5, schedules: [{ ...office, cron: '* * * *' }] }, /^Autoscale\.Schedules\[0\]\.Cron /],
  [{ max: 5, schedules: [{ ...office, timezone: 'Mars' }] }, /\.Timezone "Mars" is unknown/],
  [{ max: 5, schedules: [{ ...office, forNs: 0 }] }, /\.Schedules\[0\]\.For must be from/],
  [{ max: 5, schedules: [{ ...office, min: 6 }] }, /\.Schedules\[0\]\.Min 6 is more than the 5/],
  [{ max: 5, schedules: [{ ...office, min: 0 }] }, /\.Schedules\[0\]\.Min 0 needs a metric/],
];
for (const [autoscale, message, fields] of REFUSED) {
  test(`refused: ${JSON.stringify(autoscale)} ${JSON.stringify(fields ?? {})}`, (t) => {
    t.throws(() => judge({ ...fields, autoscale }), { message, code: 'invalid-argument' });
  });
}

const BY_LABEL: [Record<string, string>, RegExp, Spec?][] = [
  [{ max: 'x' }, /^labels: autoscale\.max "x" is not right/],
  [{ min: '6', max: '5' }, /^labels: autoscale\.min 6 is more/],
  [
    { max: '5', cpu: '70%' },
    /^labels: autoscale\.cpu 70% is a share of what a task reserves/,
    { task: { container: { image: 'i' } } },
  ],
  [{ max: '5', tolerance: '200%' }, /^labels: autoscale\.tolerance\.down must be/],
  [
    { max: '5', 'schedule.b.cron': 'x', 'schedule.b.for': '1h', 'schedule.b.min': '1' },
    /^labels: autoscale\.schedule\.b\.cron "x" is no time/,
  ],
  [
    {
      max: '5',
      'http.depth.url': 'ftp://x',
      'http.depth.path': 'a',
      'http.depth.per-replica': '0',
    },
    /^labels: autoscale\.http\.depth\.url is wrong.*; labels: autoscale\.http\.depth\.per-replica must/,
  ],
  [{ max: '5' }, /^labels: autoscale needs a replicated/, { mode: { $case: 'global', value: {} } }],
];
for (const [settings, message, fields] of BY_LABEL) {
  test(`refused by the label: ${JSON.stringify(settings)}`, (t) => {
    const labels = Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [`autoscale.${key}`, value]),
    );
    t.throws(() => judge({ ...fields, labels }), { message, code: 'invalid-argument' });
  });
}

test('labels are judged also where the field says something else', (t) => {
  t.throws(() => judge({ autoscale: { max: 5 }, labels: { 'autoscale.maxx': '5' } }), {
    message: /did you mean autoscale\.max/,
  });
});
