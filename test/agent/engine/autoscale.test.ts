// How services follow their load, over the real socket and the real control plane; what the leader's autoscaler
// tells is played.

import anyTest, { type TestFn } from 'ava';
import { ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { GetAutoscalingRequest } from '../../../shared/gen/shoal/v1/control.ts';
import { EngineHost } from '../../support/engine-host.ts';
import { httpJson } from '../../support/engine-http.ts';

const test = anyTest as TestFn<{ host: EngineHost }>;
test.before(async (t) => {
  t.context.host = await EngineHost.start();
});
test.after.always((t) => t.context.host.close());

type Spec = Record<string, unknown> & {
  Autoscale?: Record<string, unknown>;
  Mode?: { Replicated: { Replicas: number } };
};
type Shown = { ID: string; Version: { Index: number }; Spec: Spec; AutoscaleStatus?: object };
const LABELS = { 'autoscale.min': '2', 'autoscale.max': '9', 'autoscale.cpu': '0.5' };
const TASK = { TaskTemplate: { ContainerSpec: { Image: 'web:1' } } };

function client({ socketPath }: EngineHost) {
  const send = async (method: string, path: string, body?: object) => {
    const { status, json } = await httpJson(socketPath, method, path, body);
    return { status, json: json as { Warnings?: string[] | null; message?: string } };
  };
  const show = async (name: string) =>
    (await httpJson(socketPath, 'GET', `/services/${name}`)).json as Shown;
  return {
    send,
    show,
    create: (name: string, spec: object) =>
      send('POST', '/services/create', { Name: name, ...TASK, ...spec }),
    update: async (name: string, change: (spec: Spec) => object) => {
      const { ID, Version, Spec } = await show(name);
      return send('POST', `/services/${ID}/update?version=${Version.Index}`, change(Spec));
    },
  };
}
const withReplicas = (spec: Spec, Replicas: number) => ({
  ...spec,
  Mode: { Replicated: { Replicas } },
});

test.serial('an update without the field keeps it, one with null takes it away', async (t) => {
  const { create, update, show } = client(t.context.host);
  const Autoscale = { Min: 2, Max: 9, Metrics: [{ CPU: { Average: 0.5 } }] };
  t.is((await create('field', { Autoscale })).status, 201);
  t.deepEqual((await show('field')).Spec.Autoscale, Autoscale);
  const stock = await update('field', ({ Autoscale: _, ...spec }) => ({
    ...spec,
    Labels: { a: 'b' },
  }));
  t.is(stock.status, 200);
  t.deepEqual((await show('field')).Spec.Autoscale, Autoscale);
  t.is((await update('field', (spec) => ({ ...spec, Autoscale: null }))).status, 200);
  t.is((await show('field')).Spec.Autoscale, undefined);
});

test.serial(
  'answers warn of words that mean something else and of counts that will not stay',
  async (t) => {
    const { create, update } = client(t.context.host);
    const alias = { 'swarm.autoscaler': 'true', 'swarm.autoscaler.maximum': '4' };
    const reserved = { Resources: { Reservations: { NanoCPUs: 1e8 } } };
    const created = await create('alias', {
      Labels: alias,
      TaskTemplate: { ...TASK.TaskTemplate, ...reserved },
    });
    t.regex(
      created.json.Warnings?.[0] ?? '',
      /swarm\.autoscaler=true is read as autoscale\.cpu=70%/,
    );
    t.is(created.json.Warnings?.length, 1);
    const image = { Image: 'web:1', Labels: { 'autoscale.max': '4' } };
    const misplaced = await create('misplaced', { TaskTemplate: { ContainerSpec: image } });
    t.regex(
      misplaced.json.Warnings?.[0] ?? '',
      /autoscale\.max is a label of the containers.*deploy\.labels/,
    );
    const unsaid = await create('unsaid', { Labels: LABELS, Mode: { Replicated: {} } });
    t.is(unsaid.json.Warnings, null, 'nobody asked for another count');
    const raised = await create('counted', {
      Labels: LABELS,
      Mode: { Replicated: { Replicas: 1 } },
    });
    t.regex(raised.json.Warnings?.[0] ?? '', /begins with 2 replicas, not 1/);
    t.is((await update('counted', (spec) => withReplicas(spec, 1))).json.Warnings, null);
    const scaled = await update('counted', (spec) => withReplicas(spec, 5));
    t.regex(scaled.json.Warnings?.[0] ?? '', /the count is 5 now, stays so for 10 minutes/);
    const beyond = await update('counted', (spec) => withReplicas(spec, 50));
    t.regex(beyond.json.Warnings?.[0] ?? '', /the count is 9 now \(50 is not within min and max\)/);
    const paused = await update('counted', (spec) => withReplicas(spec, 0));
    t.regex(paused.json.Warnings?.[0] ?? '', /paused by a count of 0/);
    const sleeper = {
      Min: 0,
      Max: 9,
      Metrics: [{ HTTP: { URL: 'http://a/', Path: 'a', PerReplica: 1 } }],
    };
    await create('sleeper', { Autoscale: sleeper, Mode: { Replicated: { Replicas: 3 } } });
    const slept = await update('sleeper', (spec) => withReplicas(spec, 0));
    t.regex(slept.json.Warnings?.[0] ?? '', /the count is 0 now, stays so for 10 minutes/);
  },
);

test.serial('a declaration that is wrong is refused by the name of its label', async (t) => {
  const { create } = client(t.context.host);
  const { status, json } = await create('wrong', { Labels: { ...LABELS, 'autoscale.maxx': '3' } });
  t.is(status, 400);
  t.regex(json.message ?? '', /labels: autoscale\.maxx is unknown: did you mean autoscale\.max\?/);
});

test.serial(
  'settings are changed one by one, beside what labels or the field say already',
  async (t) => {
    const { create, send, show } = client(t.context.host);
    await create('set', { Labels: LABELS, Mode: { Replicated: { Replicas: 3 } } });
    const set = (settings: object, unset: string[] = []) =>
      send('POST', '/services/set/autoscale', { Set: settings, Unset: unset });
    t.is((await set({ max: '20', 'up.stabilize': '30s' })).status, 200);
    t.deepEqual((await show('set')).Spec.Autoscale, {
      Min: 2,
      Max: 20,
      Metrics: [{ CPU: { Average: 0.5 } }],
      Up: { Stabilize: 30e9 },
    });
    t.is((await set({ mode: 'off' })).status, 200);
    t.is((await show('set')).Spec.Autoscale?.Mode, 'off');
    t.is((await set({ pids: '10' }, ['up', 'cpu'])).status, 200);
    t.deepEqual((await show('set')).Spec.Autoscale, {
      Min: 2,
      Max: 20,
      Metrics: [{ Pids: { PerReplica: 10 } }],
    });
    const wrong = await set({ cpuu: '70%', max: 'x' });
    t.is(wrong.status, 400);
    t.regex(wrong.json.message ?? '', /cpuu is unknown: did you mean cpu\?; max "x" is not right/);
    const unknown = await set({}, ['cpuu']);
    t.is(unknown.status, 400);
    t.regex(unknown.json.message ?? '', /cpuu is unknown: it cannot be unset/);
    t.is((await set({}, ['up', 'fast', 'redis-list.mails', 'memory'])).status, 200);
    t.is((await send('POST', '/services/set/autoscale', {})).status, 400);
    t.is((await send('POST', '/services/set/autoscale', { Autoscale: null })).status, 200);
    t.is((await show('set')).Spec.Autoscale, undefined);
    t.is((await show('set')).Spec.Mode?.Replicated.Replicas, 3);
  },
);

test.serial(
  'labels that count for nothing are told when they change, until they hold again',
  async (t) => {
    const { create, send, show, update } = client(t.context.host);
    const path = '/services/both/autoscale';
    await create('both', { Labels: LABELS, Mode: { Replicated: { Replicas: 3 } } });
    await send('POST', path, { Set: { max: '20' }, Unset: [] });
    const labelled = (max: string) =>
      update('both', ({ Autoscale: _, ...spec }) => ({
        ...spec,
        Labels: { ...LABELS, 'autoscale.max': max },
      }));
    t.regex((await labelled('12')).json.Warnings?.[0] ?? '', /both --unset '\*' goes back/);
    t.is((await labelled('12')).json.Warnings, null, 'nothing was expected of it');
    t.is((await show('both')).Spec.Autoscale?.Max, 20);
    t.is((await send('POST', path, { Set: {}, Unset: ['*'] })).status, 200);
    t.is((await show('both')).Spec.Autoscale, undefined);
    t.is((await labelled('13')).json.Warnings, null);
  },
);

test.serial('a setting is not changed where settings cannot say the rest', async (t) => {
  const { create, send, show } = client(t.context.host);
  const Metrics = [
    { Name: 'mean', CPU: { Average: 0.5 } },
    { Name: 'most', CPU: { Average: 0.9 } },
  ];
  await create('twice', { Autoscale: { Max: 9, Metrics } });
  const { status, json } = await send('POST', '/services/twice/autoscale', { Set: { max: '20' } });
  t.is(status, 400);
  t.regex(json.message ?? '', /two metrics of one kind/);
  t.deepEqual((await show('twice')).Spec.Autoscale, { Max: 9, Metrics });
  const whole = { Set: { max: '20', cpu: '0.5' }, Unset: ['*'] };
  t.is((await send('POST', '/services/twice/autoscale', whole)).status, 200);
});

test.serial(
  'the state is shown with records and what they would be now, and beside the service',
  async (t) => {
    const { host } = t.context;
    const { create, show } = client(host);
    await create('state', { Labels: LABELS });
    const record = ScaleRecord.fromPartial({
      atMs: Date.UTC(2026, 0, 1),
      from: 2,
      to: 4,
      reason: 'above-target',
      message: '2 to 4: cpu',
      metrics: [{ name: 'cpu', value: 0.9, target: 0.5, ratio: 1.8, counted: 2 }],
      proposed: 4,
      stabilized: 4,
      limited: 4,
    });
    const asked: GetAutoscalingRequest[] = [];
    host.autoscaling = (request) => {
      asked.push(GetAutoscalingRequest.fromPartial(request));
      const state = {
        serviceId: 'id',
        serviceName: 'state',
        spec: {
          mode: '',
          max: 9,
          metrics: [{ name: '', kind: { $case: 'cpu' as const, value: { average: 0.5 } } }],
          schedules: [],
        },
        replicas: 4,
        readyTasks: 3,
        last: record,
        records: request.records ? [record] : [],
        setByHand: false,
        replayed: request.replay ? [{ again: { ...record, to: 5 }, differs: ['to'] }] : [],
      };
      return Promise.resolve({ services: [state] });
    };
    const { json } = await httpJson(host.socketPath, 'GET', '/services/state/autoscale?replay=1');
    t.deepEqual(asked, [{ services: ['state'], records: true, replay: true }]);
    t.like(json, {
      ServiceName: 'state',
      Replicas: 4,
      ReadyTasks: 3,
      Autoscale: { Max: 9, Metrics: [{ CPU: { Average: 0.5 } }] },
      Settings: { max: '9', cpu: '0.5 cores' },
      Last: { At: '2026-01-01T00:00:00.000Z', From: 2, To: 4, Reason: 'above-target' },
    });
    const { Effective, Records } = json as unknown as {
      Effective: Record<string, string>;
      Records: { Metrics: object[]; Replay: { Again: object; Differs: string[] } }[];
    };
    t.is(Effective.min, '1');
    t.deepEqual(Records[0]?.Metrics, [
      { Name: 'cpu', Value: 0.9, Target: 0.5, Ratio: 1.8, Counted: 2, Missing: 0, NotReady: 0 },
    ]);
    t.like(Records[0]?.Replay, { Again: { To: 5 }, Differs: ['to'] });
    const all = await httpJson(host.socketPath, 'GET', '/autoscale');
    t.is((all.json as unknown as object[]).length, 1);
    t.like((await show('state')).AutoscaleStatus, {
      Replicas: 4,
      Reason: 'above-target',
      LastScale: '2026-01-01T00:00:00.000Z',
    });
  },
);

test.serial(
  'a service that is not scaled is shown without asking the leader of its state',
  async (t) => {
    const { host } = t.context;
    const { create, show } = client(host);
    await create('plain', {});
    const before = host.autoscaling;
    host.autoscaling = () => Promise.reject(new Error('asked'));
    t.is((await show('plain')).AutoscaleStatus, undefined);
    await create('silent', { Labels: LABELS });
    t.is((await show('silent')).AutoscaleStatus, undefined, 'and one whose leader is silent too');
    host.autoscaling = before;
  },
);
