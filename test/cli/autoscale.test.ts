import test from 'ava';
import { settingsChange } from '../../cli/autoscale-flags.ts';
import {
  autoscaleText,
  explainText,
  quantity,
  replayText,
  topText,
} from '../../cli/autoscale-text.ts';
import { screenText } from '../../cli/screen-text.ts';
import type { AutoscalingJson, RecordJson } from '../../cli/types.ts';
import { labelsOfCompose, settingsOfTree } from '../../cli/x-autoscale.ts';
import { parseSettings } from '../../shared/model/autoscale-settings.ts';

test('settingsChange() makes settings of flags', (t) => {
  t.is(settingsChange({}), undefined);
  t.deepEqual(
    settingsChange({
      max: '20',
      cpu: '70%',
      network: ['10MiB/s'],
      'up-stabilize': '0s',
      'redis-list': [
        'address=redis:6379,key=jobs,per-replica=5',
        'name=mails,address=redis:6379,key=mails,per-replica=5',
      ],
      prometheus: ['url=http://p:9090,query=sum(up{job="a",kind="b"}),per-replica=50'],
      set: ['autoscale.tolerance=5%', 'schedule.x.cron=0 8 * * *'],
      unset: ['autoscale.down'],
    }),
    {
      Set: {
        max: '20',
        cpu: '70%',
        network: '10MiB/s',
        'up.stabilize': '0s',
        'redis-list.address': 'redis:6379',
        'redis-list.key': 'jobs',
        'redis-list.per-replica': '5',
        'redis-list.mails.address': 'redis:6379',
        'redis-list.mails.key': 'mails',
        'redis-list.mails.per-replica': '5',
        'prometheus.url': 'http://p:9090',
        'prometheus.query': 'sum(up{job="a",kind="b"})',
        'prometheus.per-replica': '50',
        tolerance: '5%',
        'schedule.x.cron': '0 8 * * *',
      },
      Unset: ['down'],
    },
  );
  t.deepEqual(settingsChange({ off: true }), { Set: { mode: 'off' }, Unset: [] });
});

for (const [flags, message] of [
  [{ set: ['max'] }, /--set is KEY=VALUE/],
  [{ nats: ['nats:4222'] }, /--nats is KEY=VALUE/],
  [{ nats: ['url=a,url=b'] }, /--nats: url is given twice/],
  [{ http: ['url=a', 'url=b'] }, /--http: url is given twice: tell several apart by name/],
] as const) {
  test(`settingsChange() names the flag that is wrong: ${JSON.stringify(flags)}`, (t) => {
    t.throws(() => settingsChange(flags), { message });
  });
}

const TREE = {
  min: 1,
  max: 20,
  metrics: [
    { cpu: { target: '70%' } },
    { memory: '80%' },
    { requests: { perReplica: '200/s' } },
    { 'redis-list': { address: 'redis:6379', key: 'jobs', perReplica: 5, activation: 0 } },
    {
      name: 'mails',
      'redis-list': { address: 'r:1', key: 'mails', perReplica: 5, auth: { passwordSecret: 's' } },
    },
    { schedule: { cron: '0 8 * * 1-5', for: '10h', min: 5, timezone: 'Europe/Paris' } },
  ],
  tolerance: { up: '10%', down: '5%' },
  up: {
    stabilize: '0s',
    select: 'max',
    policies: [
      { add: 4, per: '15s' },
      { percent: 100, per: '15s' },
    ],
  },
  down: { stabilize: '300s' },
  fast: { window: '6s', threshold: '200%' },
  warmup: { ignore: '30s' },
  onError: { replicas: 5, after: 3 },
  cooldownToZero: '300s',
};

test('x-autoscale says in a tree what labels say flat', (t) => {
  const settings = settingsOfTree(TREE);
  t.like(settings, {
    min: '1',
    cpu: '70%',
    memory: '80%',
    requests: '200/s',
    'redis-list.key': 'jobs',
    'redis-list.mails.password-secret': 's',
    'schedule.6.cron': '0 8 * * 1-5',
    'tolerance.down': '5%',
    'up.policies': '4/15s,100%/15s',
    warmup: '30s',
    'on-error.after': '3',
    'cooldown-to-zero': '300s',
  });
  const read = parseSettings(settings);
  t.true(read.ok, JSON.stringify(read));
  t.is(settingsOfTree({ max: 3, onError: 'hold' })['on-error'], undefined);
  const compose = { services: { db: {}, web: { deploy: { 'x-autoscale': { max: 3 } } } } };
  t.deepEqual(labelsOfCompose(compose), { web: { 'autoscale.max': '3' } });
});

for (const [tree, message] of [
  [[], /x-autoscale must be a mapping/],
  [{ metrics: { cpu: '70%' } }, /x-autoscale\.metrics must be a list/],
  [{ metrics: [{ cpu: '70%', memory: '80%' }] }, /metrics\[0\] must be of one kind/],
  [{ metrics: [{ cpu: '70%' }, { cpu: '80%' }] }, /metrics\[1\]: cpu is given twice/],
  [{ up: { policies: [{ add: 4 }] } }, /x-autoscale\.up\.policies: a policy is/],
  [{ max: [3] }, /x-autoscale\.max must be a word or a number/],
] as const) {
  test(`x-autoscale that is wrong is told by its place: ${JSON.stringify(tree)}`, (t) => {
    t.throws(() => settingsOfTree(tree), { message });
  });
}

const LAST: RecordJson = {
  At: '2026-01-01T10:00:05.000Z',
  From: 2,
  To: 4,
  Reason: 'above-target',
  Message: 'cpu at 140 % of a target of 70 %',
  Metrics: [
    {
      Name: 'cpu',
      Value: 1.4,
      Target: 0.7,
      Ratio: 2,
      Counted: 2,
      Missing: 0,
      NotReady: 0,
      Proposal: 4,
    },
    { Name: 'redis-list jobs', Target: 5, Counted: 0, Missing: 0, NotReady: 0, Error: 'refused' },
  ],
  Proposed: 4,
  Stabilized: 4,
  Limited: 4,
  Held: false,
};
const STATE: AutoscalingJson = {
  ServiceName: 'web',
  Replicas: 2,
  ReadyTasks: 2,
  SetByHand: false,
  Settings: { max: '20' },
  Effective: {
    mode: 'active',
    min: '1',
    max: '20',
    cpu: '70%',
    'up.stabilize': '0s',
    'up.policies': '4/5s,100%/5s',
    'down.stabilize': '2m',
    'down.policies': '100%/15s',
  },
  Last: LAST,
  Records: [LAST],
};

test('explainText() says why, by what and how it came', (t) => {
  t.is(
    explainText(STATE),
    `web: 2 replicas (2 ready), between 1 and 20
Now (10:00:05): above-target (2 -> 4): cpu at 140 % of a target of 70 %

METRIC           VALUE  TARGET  RATIO  TASKS  MISSING  NOT READY  ASKS FOR
cpu              140%   70%     2.00   2      0        0          4
redis-list jobs  -      5       -      0      0        0          -         refused

Asked for 4, 4 after stabilization, 4 after rates and limits.
Up: at most 4/5s or 100%/5s, stabilized over 0s. Down: at most 100%/15s, stabilized over 2m.

TIME                 COUNT   REASON        WHY
2026-01-01 10:00:05  2 -> 4  above-target  cpu at 140 % of a target of 70 %
`,
  );
});

test('explainText() tells why a service was scaled that is not any more', (t) => {
  const { Settings: _, Effective: __, Last: ___, ...bare } = STATE;
  t.is(
    explainText(bare),
    `web is not scaled by its load: 2 replicas.
To change that: labels autoscale.* of the service (deploy.labels in a compose file), or
shoal service autoscale web --max 10 --cpu 70%

It was:
TIME                 COUNT   REASON        WHY
2026-01-01 10:00:05  2 -> 4  above-target  cpu at 140 % of a target of 70 %
`,
  );
  t.false(explainText({ ...bare, Records: [] }).includes('It was'));
});

test('autoscaleText() tells what was declared from what holds besides', (t) => {
  const text = autoscaleText(STATE);
  t.regex(text, /^max +20$/m);
  t.regex(text, /^cpu +70% +default$/m);
  const { Settings: _, Effective: __, Last: ___, ...bare } = STATE;
  t.regex(autoscaleText(bare), /web is not scaled by its load: 2 replicas/);
});

test('topText() shows the metric that asks for the most', (t) => {
  t.is(
    topText([STATE, { ...STATE, ServiceName: 'api', Records: [], SetByHand: true }]),
    `SERVICE  READY  RANGE  LOAD             OF TARGET        REASON
api      2/2    1-20   cpu 140% of 70%  ########## 200%  above-target (set by hand)
web      2/2    1-20   cpu 140% of 70%  ########## 200%  above-target
`,
  );
});

test('topText() shows a queue against what all replicas are for, and cuts a long error visibly', (t) => {
  const unread = {
    ...{ Name: 'redis-list jobs', Target: 2, Counted: 0, Missing: 0, NotReady: 0 },
    Error: 'nosuchhost:6391: no answer within 2 s',
  };
  const queue = { ...unread, Value: 11, Ratio: 0.92, Proposal: 6 };
  const at = (metric: typeof unread): AutoscalingJson => ({
    ...STATE,
    Last: { ...LAST, From: 6, To: 6, Metrics: [metric] },
  });
  t.regex(topText([at(queue)]), /redis-list jobs 11 of 12 +#########\. 92% /);
  t.regex(topText([at(unread)]), /redis-list jobs: nosuchhost:6391: no an… /);
});

test('topText() says so when nothing is scaled', (t) => {
  t.regex(topText([]), /^No service is scaled by its load\.\n/);
});

test('topText() says what is only recommended', (t) => {
  const told = { ...STATE, Effective: { ...STATE.Effective, mode: 'recommend' } };
  t.regex(topText([told]), /above-target \(recommends 4\)\n$/);
  const steady = { ...told, Last: { ...LAST, To: LAST.From } };
  t.regex(topText([steady]), /above-target\n$/);
});

test('screenText() says how many lines do not fit', (t) => {
  t.is(screenText('a\nb\nc\n', 3, 10), 'a\nb\nc');
  t.is(screenText('a\nb\nc\nd\n', 3, 10), 'a\nb\n... 2 more');
  t.is(screenText('abcdef\nb\n', 3, 4), 'abcd\nb');
});

test('replayText() says which decisions would be others now', (t) => {
  const replayed = (Replay: RecordJson['Replay']) => ({ ...LAST, ...(Replay && { Replay }) });
  const text = replayText({
    ...STATE,
    Records: [
      replayed({ Again: LAST, Differs: [] }),
      replayed({ Again: { ...LAST, To: 5 }, Differs: ['to'] }),
      replayed({ Differs: [] }),
    ],
  });
  t.regex(text, /above-target +same\n.*differs in to: 5, above-target\n.*input not kept\n/);
  t.regex(text, /3 decisions, 1 the same again, 1 not, 1 whose input is not kept/);
});

test('quantity() has the unit that the metric is declared in', (t) => {
  t.is(quantity(0.683, 'cpu', { cpu: '70%' }), '68.3%');
  t.is(quantity(0.3501, 'cpu', { cpu: '0.5 cores' }), '0.35 cores');
  t.is(quantity(3 * 2 ** 29, 'memory', { memory: '2GiB' }), '1.5GiB');
  t.is(quantity(199.96, 'requests', {}), '200/s');
  t.is(quantity(17, 'redis-list jobs', {}), '17');
  t.is(quantity(undefined, 'cpu', {}), '-');
});
