import test from 'ava';
import { AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { ServiceSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  effectiveAutoscale,
  followsLoad,
  parseAutoscaleLabels,
} from '../../../shared/model/autoscale-labels.ts';
import type { MessageInitShape } from '../../support/types.ts';

type Fields = MessageInitShape<typeof AutoscaleSpec>;
const S = 1e9;

const cpu = (value: { utilization?: number; average?: number }) => ({
  metrics: [{ kind: { $case: 'cpu' as const, value } }],
});
const ofKind = ($case: string, value: object, name = '') =>
  ({ metrics: [{ name, kind: { $case, value } }] }) as Fields;

/** Labels without the prefix and max -> what they say beside max 9. */
const RIGHT: readonly (readonly [Record<string, string>, Fields])[] = [
  [{}, {}],
  [{ enable: 'true' }, {}],
  [{ enable: 'false' }, { mode: 'off' }],
  [{ mode: 'recommend' }, { mode: 'recommend' }],
  [{ min: '0' }, { min: 0 }],
  [{ cpu: '70%' }, cpu({ utilization: 0.7 })],
  [{ cpu: ' 7% ' }, cpu({ utilization: 0.07 })],
  [{ cpu: '0.5' }, cpu({ average: 0.5 })],
  [{ cpu: '0.5 cores' }, cpu({ average: 0.5 })],
  [{ cpu: '1 core' }, cpu({ average: 1 })],
  [{ cpu: '12 cores' }, cpu({ average: 12 })],
  [{ cpu: '250m' }, cpu({ average: 0.25 })],
  [{ memory: '80%' }, ofKind('memory', { utilization: 0.8 })],
  [{ memory: '512MiB' }, ofKind('memory', { average: 512 * 1024 ** 2 })],
  [{ memory: '512m' }, ofKind('memory', { average: 512 * 1024 ** 2 })],
  [{ memory: '1.5GB' }, ofKind('memory', { average: 1.5 * 1024 ** 3 })],
  [{ memory: '1048576b' }, ofKind('memory', { average: 1024 ** 2 })],
  [{ network: '10MiB/s' }, ofKind('network', { perReplica: 10 * 1024 ** 2 })],
  [{ network: '10m' }, ofKind('network', { perReplica: 10 * 1024 ** 2 })],
  [{ pids: '50' }, ofKind('pids', { perReplica: 50 })],
  [{ requests: '200/s' }, ofKind('requests', { perReplica: 200 })],
  [{ requests: '200' }, ofKind('requests', { perReplica: 200 })],
  [{ requests: '120/m' }, ofKind('requests', { perReplica: 2 })],
  [{ connections: '0.5/s' }, ofKind('connections', { perReplica: 0.5 })],
  [{ tolerance: '10%' }, { toleranceUp: 0.1, toleranceDown: 0.1 }],
  [
    { tolerance: '0.1', 'tolerance.up': '5%' },
    { toleranceUp: 0.05, toleranceDown: 0.1 },
  ],
  [{ 'tolerance.down': '0%' }, { toleranceDown: 0 }],
  [{ 'up.stabilize': '0s' }, { up: { stabilizeNs: 0 } }],
  [{ 'down.stabilize': '1h30m' }, { down: { stabilizeNs: 5400 * S } }],
  [{ 'down.select': 'disabled' }, { down: { select: 'disabled' } }],
  [
    { 'up.policies': '4/15s, 100%/15s' },
    {
      up: {
        policies: [
          { change: { $case: 'tasks', value: 4 }, periodNs: 15 * S },
          { change: { $case: 'share', value: 1 }, periodNs: 15 * S },
        ],
      },
    },
  ],
  [{ 'fast.window': '6s', 'fast.threshold': '200%' }, { fast: { windowNs: 6 * S, threshold: 2 } }],
  [{ 'fast.disable': 'true' }, { fast: { disabled: true } }],
  [
    { warmup: '250ms', 'cooldown-to-zero': '5m' },
    { warmupNs: 0.25 * S, cooldownToZeroNs: 300 * S },
  ],
  [{ 'on-error.after': '3', 'on-error.replicas': '5' }, { onError: { after: 3, replicas: 5 } }],
  [
    { 'redis-list.address': 'redis:6379', 'redis-list.key': 'jobs', 'redis-list.per-replica': '5' },
    ofKind('redisList', {
      address: 'redis:6379',
      key: 'jobs',
      target: { perReplica: 5, activation: 0 },
    }),
  ],
  [
    {
      'redis-list.mails.address': 'redis:6379',
      'redis-list.mails.key': 'mails',
      'redis-list.mails.per-replica': '5',
      'redis-list.mails.activation': '2',
      'redis-list.mails.database': '3',
      'redis-list.mails.tls': 'true',
      'redis-list.mails.username': 'shoal',
      'redis-list.mails.password-secret': 'redis-password',
      'redis-list.mails.ca-secret': 'redis-ca',
    },
    ofKind(
      'redisList',
      {
        address: 'redis:6379',
        key: 'mails',
        database: 3,
        tls: true,
        auth: { username: 'shoal', passwordSecret: 'redis-password', caSecret: 'redis-ca' },
        target: { perReplica: 5, activation: 2 },
      },
      'mails',
    ),
  ],
  [
    {
      'redis-stream.address': 'redis:6379',
      'redis-stream.stream': 's',
      'redis-stream.group': 'g',
      'redis-stream.per-replica': '10',
    },
    ofKind('redisStream', {
      address: 'redis:6379',
      stream: 's',
      group: 'g',
      target: { perReplica: 10, activation: 0 },
    }),
  ],
  [
    {
      'nats.url': 'nats://nats:4222',
      'nats.stream': 'S',
      'nats.consumer': 'C',
      'nats.per-replica': '10',
    },
    ofKind('nats', {
      url: 'nats://nats:4222',
      stream: 'S',
      consumer: 'C',
      target: { perReplica: 10, activation: 0 },
    }),
  ],
  [
    {
      'prometheus.url': 'http://p:9090',
      'prometheus.query': 'sum(up{job="a"})',
      'prometheus.per-replica': '0.5',
    },
    ofKind('prometheus', {
      url: 'http://p:9090',
      query: 'sum(up{job="a"})',
      target: { perReplica: 0.5, activation: 0 },
    }),
  ],
  [
    {
      'http.url': 'http://q/depth',
      'http.path': 'queue.depth',
      'http.per-replica': '1',
      'http.token-secret': 't',
    },
    ofKind('http', {
      url: 'http://q/depth',
      path: 'queue.depth',
      auth: { tokenSecret: 't' },
      target: { perReplica: 1, activation: 0 },
    }),
  ],
  [
    {
      'schedule.office.cron': '0 8 * * 1-5',
      'schedule.office.for': '10h',
      'schedule.office.min': '5',
      'schedule.office.timezone': 'Europe/Paris',
      'schedule.night.cron': '0 0 * * *',
      'schedule.night.for': '6h',
      'schedule.night.min': '0',
      'schedule.night.max': '2',
    },
    {
      schedules: [
        { cron: '0 0 * * *', forNs: 6 * 3600 * S, min: 0, max: 2 },
        { cron: '0 8 * * 1-5', forNs: 10 * 3600 * S, min: 5, timezone: 'Europe/Paris' },
      ],
    },
  ],
  [
    { requests: '1', cpu: '50%', 'http.b.url': 'u', 'http.b.path': 'p', 'http.b.per-replica': '1' },
    {
      metrics: [
        { kind: { $case: 'cpu', value: { utilization: 0.5 } } },
        { kind: { $case: 'requests', value: { perReplica: 1 } } },
        {
          name: 'b',
          kind: {
            $case: 'http',
            value: { url: 'u', path: 'p', target: { perReplica: 1, activation: 0 } },
          },
        },
      ],
    },
  ],
];

const prefixed = (settings: Record<string, string>) =>
  Object.fromEntries(Object.entries(settings).map(([key, value]) => [`autoscale.${key}`, value]));

for (const [labels, said] of RIGHT) {
  test(`labels say how a service is scaled: ${JSON.stringify(labels)}`, (t) => {
    const result = parseAutoscaleLabels({ other: 'x', ...prefixed({ max: '9', ...labels }) });
    if (result?.ok !== true) return t.fail(JSON.stringify(result));
    t.deepEqual(
      AutoscaleSpec.fromPartial(result.spec),
      AutoscaleSpec.fromPartial({ max: 9, ...said }),
    );
    t.deepEqual(result.warnings, []);
  });
}

/** Labels without the prefix -> what is said about them. */
const WRONG: readonly (readonly [Record<string, string>, RegExp])[] = [
  [{ enable: 'true' }, /^autoscale\.max is missing: give the most replicas there may be, like 20$/],
  [{ max: 'many' }, /^autoscale\.max "many" is not right: expected a whole number, like 3$/],
  [{ max: '-1' }, /^autoscale\.max "-1"/],
  [{ max: '1.5' }, /^autoscale\.max "1\.5"/],
  [{ max: '' }, /^autoscale\.max ""/],
  [{ max: '9', enable: 'yes' }, /^autoscale\.enable "yes" .* true or false$/],
  [{ max: '9', mode: 'on' }, /^autoscale\.mode "on" .* one of active, recommend, off$/],
  [{ max: '9', cpu: '70' }, /^autoscale\.cpu "70" .* like 70%, or cores, like 0\.5/],
  [{ max: '9', cpu: '%' }, /^autoscale\.cpu/],
  [{ max: '9', cpu: '-5%' }, /^autoscale\.cpu/],
  [{ max: '9', cpu: 'Infinity' }, /^autoscale\.cpu/],
  [{ max: '9', memory: '80' }, /^autoscale\.memory "80" .* like 70%, or a size, like 512MiB$/],
  [{ max: '9', network: '10/s' }, /^autoscale\.network "10\/s" .* a rate, like 10MiB\/s$/],
  [{ max: '9', requests: '200/d' }, /^autoscale\.requests "200\/d" .* a rate, like 200\/s$/],
  [{ max: '9', tolerance: 'ten' }, /^autoscale\.tolerance/],
  [
    { max: '9', 'up.stabilize': '30' },
    /^autoscale\.up\.stabilize "30" .* a duration, like 30s or 5m/,
  ],
  [{ max: '9', 'up.policies': '4' }, /^autoscale\.up\.policies "4" .* like 4\/15s,100%\/15s$/],
  [{ max: '9', 'up.policies': '4/15s,' }, /^autoscale\.up\.policies/],
  [{ max: '9', 'up.policies': '4/15s/2' }, /^autoscale\.up\.policies/],
  [{ max: '9', 'down.select': 'none' }, /^autoscale\.down\.select .* one of max, min, disabled$/],
  [{ max: '9', 'on-error.replicas': '3' }, /^autoscale\.on-error\.after is missing/],
  [{ max: '9', 'on-error.after': '3' }, /^autoscale\.on-error\.replicas is missing/],
  [{ maxx: '9', max: '9' }, /^autoscale\.maxx is unknown: did you mean autoscale\.max\?$/],
  [{ max: '9', cpuu: '5%' }, /did you mean autoscale\.cpu\?$/],
  [{ max: '9', cooldownToZero: '5m' }, /did you mean autoscale\.cooldown-to-zero\?$/],
  [{ max: '9', 'up.stabilise': '5m' }, /did you mean autoscale\.up\.stabilize\?$/],
  [{ max: '9', frobnicate: '1' }, /^autoscale\.frobnicate is unknown$/],
  [{ max: '9', '': '1' }, /^autoscale\. is unknown/],
  [
    { max: '9', 'redis-list.mails.lenght': '1' },
    /^autoscale\.redis-list\.mails\.lenght is unknown/,
  ],
  [
    { max: '9', 'redis-list.mails.perReplica': '1' },
    /did you mean autoscale\.redis-list\.mails\.per-replica\?$/,
  ],
  [{ max: '9', 'redis-list.a.b.key': '1' }, /is unknown/],
  [{ max: '9', 'redis-list.a b.key': '1' }, /is unknown/],
  [{ max: '9', 'schedule.cron': '1' }, /is unknown/],
  [{ max: '9', 'schedule.x.cron': '* * * * *' }, /^autoscale\.schedule\.x\.for is missing/],
  [{ max: '9', 'http.__proto__': '1' }, /is unknown/],
];

for (const [labels, message] of WRONG) {
  test(`a label that is wrong is told by its name: ${JSON.stringify(labels)}`, (t) => {
    const result = parseAutoscaleLabels(prefixed(labels));
    if (result?.ok !== false) return t.fail(JSON.stringify(result));
    t.regex(result.errors[0] ?? '', message);
  });
}

test('everything that is wrong is told at once', (t) => {
  const result = parseAutoscaleLabels(prefixed({ max: 'x', cpu: 'y', 'redis-list.key': 'jobs' }));
  t.deepEqual(result?.ok === false && result.errors.map((error) => error.split(' ')[0]), [
    'autoscale.max',
    'autoscale.cpu',
    'autoscale.redis-list.per-replica',
    'autoscale.redis-list.address',
  ]);
});

test('labels of the scripts for Swarm are understood, with a word about the difference', (t) => {
  const labels = {
    'swarm.autoscaler': 'true',
    'swarm.autoscaler.minimum': '2',
    'swarm.autoscaler.maximum': '8',
  };
  const result = parseAutoscaleLabels(labels);
  if (result?.ok !== true) return t.fail(JSON.stringify(result));
  t.like(result.spec, { min: 2, max: 8 });
  t.deepEqual(result.spec.metrics[0]?.kind, { $case: 'cpu', value: { utilization: 0.7 } });
  t.regex(result.warnings[0] ?? '', /swarm\.autoscaler=true is read as autoscale\.cpu=70%/);
  t.is(parseAutoscaleLabels({ ...labels, 'swarm.autoscaler': 'false' }), undefined);
  t.deepEqual(parseAutoscaleLabels({ 'swarm.autoscaler': 'true' }), {
    ok: false,
    errors: ['swarm.autoscaler.maximum is missing: give the most replicas there may be, like 20'],
  });
  const both = parseAutoscaleLabels({ ...labels, 'autoscale.max': '5', 'autoscale.cpu': '50%' });
  t.like(both?.ok === true && both.spec, { min: undefined, max: 5 });
});

const serviceOf = (fields: MessageInitShape<typeof ServiceSpec>) => ServiceSpec.fromPartial(fields);

test('effectiveAutoscale() takes the field before the labels, and nothing where it is off', (t) => {
  const labels = { 'autoscale.max': '5', 'autoscale.cpu': '50%' };
  t.is(effectiveAutoscale(serviceOf({ labels }))?.max, 5);
  t.is(effectiveAutoscale(serviceOf({ labels, autoscale: { max: 7 } }))?.max, 7);
  t.is(effectiveAutoscale(serviceOf({ labels, autoscale: { mode: 'off' } })), undefined);
  t.is(effectiveAutoscale(serviceOf({ labels: { 'autoscale.enable': 'false' } })), undefined);
  t.is(effectiveAutoscale(serviceOf({ labels: { 'autoscale.max': 'x' } })), undefined);
  t.is(effectiveAutoscale(serviceOf({ labels, mode: { $case: 'global', value: {} } })), undefined);
  t.is(effectiveAutoscale(serviceOf({})), undefined);
  const spec = serviceOf({ labels });
  t.is(effectiveAutoscale(spec), effectiveAutoscale(spec), 'labels are read once');
});

test('followsLoad() is true where the count is chosen, not where it is only recommended', (t) => {
  const labels = { 'autoscale.max': '5' };
  t.true(followsLoad(serviceOf({ labels })));
  t.false(followsLoad(serviceOf({ labels: { ...labels, 'autoscale.mode': 'recommend' } })));
  t.false(followsLoad(serviceOf({})));
});
