import test from 'ava';
import { decide } from '../../../manager/autoscaler/decide.ts';
import type { Decide, DecisionInput } from '../../../manager/autoscaler/types.ts';
import { removeAction, updateAction } from '../../../manager/store/tables.ts';
import { NotLeaderError, ShoalError } from '../../../shared/errors.ts';
import { Autoscaling, type ServiceSpec, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { withReplicas } from '../../../shared/model/replicas.ts';
import { fixtureId, networkFixture, serviceFixture, taskOf } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';
import { lead, PUBLISHED, readyTasks, scaledService } from './leading.ts';

test('load above the target raises the count, and a record says why', async (t) => {
  const service = scaledService({ replicas: 2 });
  const tasks = readyTasks(service, 2);
  const it = await lead(t, [service], tasks);
  for (let second = 0; second < 5; second++) {
    it.sample(tasks, { cpuCores: 0.7 });
    await it.clock.advance(1_000);
  }
  // 1.4 of 0.5 cores is twice 70 %: four tasks carry it at the target.
  t.is(it.replicas(service.id), 4);
  const stored = it.stored(service.id);
  t.is(stored?.setReplicas, 4);
  const raised = stored?.records.find(({ from, to }) => from === 2 && to === 4);
  t.is(raised?.metrics[0]?.counted, 2);
  t.true((raised?.inputJson.length ?? 0) > 100);
  t.is(it.service(service.id).specVersion, service.specVersion);
});

test('nothing but the count of a service changes, and that which a rollback would lead to', async (t) => {
  const spec = scaledService().spec;
  const before = spec && { ...spec, labels: { was: 'before' } };
  const service = scaledService({
    replicas: 12,
    previousSpec: before,
    updateStatus: { state: 'completed', message: 'update completed' },
  });
  const it = await lead(t, [service], []);
  await it.clock.advance(1_000);
  t.is(it.replicas(service.id), 10);
  const { meta: _, ...rest } = it.service(service.id);
  const { meta: __, ...was } = service;
  t.deepEqual(rest, {
    ...was,
    spec: was.spec && withReplicas(was.spec, 10),
    previousSpec: before && withReplicas(before, 10),
  });
});

test('a rollback to a spec that is not scaled leads to the count it declares', async (t) => {
  const plain = scaledService({ replicas: 3 }).spec;
  const service = scaledService({
    replicas: 12,
    previousSpec: plain && { ...plain, autoscale: undefined },
  });
  const it = await lead(t, [service], []);
  await it.clock.advance(1_000);
  t.is(it.replicas(service.id), 10);
  t.deepEqual(it.service(service.id).previousSpec?.mode, {
    $case: 'replicated',
    value: { replicas: 3 },
  });
});

test('all services that change in one round are written in one transaction', async (t) => {
  const services = Array.from({ length: 20 }, () => scaledService({ replicas: 12 }));
  const it = await lead(t, services, []);
  await it.clock.advance(500);
  t.deepEqual(
    it.writes.map((actions) => actions.length),
    [40],
  );
  for (const { id } of services) t.is(it.replicas(id), 10);
});

test('a service that an operator changes in the same moment is decided about anew', async (t) => {
  const service = scaledService({ replicas: 12 });
  let isFirst = true;
  const fixture = await storeFixture({ service: [service] });
  const it = await lead(t, [], [], {
    fixture,
    writer: (inner) => ({
      async write(actions, signal) {
        if (isFirst) {
          isFirst = false;
          const stored = fixture.store.get('service', service.id);
          if (stored === undefined) throw new Error('it is there');
          const spec = stored.spec && { ...withReplicas(stored.spec, 11), labels: { by: 'hand' } };
          await inner.write([updateAction('service', { ...stored, spec })]);
        }
        return inner.write(actions, signal);
      },
    }),
  });
  await it.clock.advance(2_000);
  t.is(it.replicas(service.id), 10);
  t.deepEqual(it.service(service.id).spec?.labels, { by: 'hand' });
  const changes = it.stored(service.id)?.records.filter(({ from, to }) => from !== to) ?? [];
  t.deepEqual(
    changes.map(({ from, to }) => [from, to]),
    [[11, 10]],
  );
});

test('a decision counts only once it is written', async (t) => {
  const service = scaledService({ replicas: 12 });
  const seen: number[] = [];
  const watching: Decide = (spec, memory, input, nowMs) => {
    seen.push(memory.events.length);
    return decide(spec, memory, input, nowMs);
  };
  const it = await lead(t, [service], [], {
    decide: watching,
    writer: (inner) => ({
      write(actions, signal) {
        if (seen.length < 3) throw new ShoalError('unavailable', 'no quorum for a moment');
        return inner.write(actions, signal);
      },
    }),
  });
  await it.clock.advance(10_000);
  t.is(it.replicas(service.id), 10);
  t.deepEqual(seen.slice(0, 4), [0, 0, 0, 1]);
});

test('recommend says what it would do and writes no count', async (t) => {
  const service = scaledService({ replicas: 12, autoscale: { mode: 'recommend' } });
  const it = await lead(t, [service], []);
  await it.clock.advance(10_000);
  t.is(it.replicas(service.id), 12);
  const stored = it.stored(service.id);
  t.is(stored?.setReplicas, undefined);
  t.deepEqual(
    stored?.records.map(({ from, to, held }) => ({ from, to, held })),
    [{ from: 12, to: 10, held: true }],
  );
});

test('a count that is set by hand is held, also before the autoscaler has set any', async (t) => {
  const service = scaledService({ replicas: 1 });
  const tasks = readyTasks(service, 1);
  const it = await lead(t, [service], tasks);
  const idle = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      it.sample(tasks, { cpuCores: 0 });
      await it.clock.advance(1_000);
    }
  };
  await idle(150);
  const { spec } = it.service(service.id);
  const scaled = { ...it.service(service.id), spec: spec && withReplicas(spec, 4) };
  await it.writer.write([updateAction('service', scaled)]);
  await idle(300);
  t.is(it.replicas(service.id), 4);
  t.is(it.stored(service.id)?.records.at(-1)?.reason, 'scaled-by-hand');
  await idle(310);
  t.is(it.replicas(service.id), 1);
});

test('a reason that stays the same is recorded once', async (t) => {
  const service = scaledService({ replicas: 2 });
  const tasks = readyTasks(service, 2);
  const it = await lead(t, [service], tasks);
  for (let second = 0; second < 60; second++) {
    it.sample(tasks, { cpuCores: 0.35 });
    await it.clock.advance(1_000);
  }
  t.deepEqual(
    it.stored(service.id)?.records.map(({ reason }) => reason),
    ['within-tolerance'],
  );
  t.is(it.writes.length, 1);
});

test('reasons that take turns do not flood the log', async (t) => {
  const service = scaledService({ replicas: 3 });
  let turn = 0;
  const fickle: Decide = (spec, memory, input, nowMs) => {
    const decision = decide(spec, memory, input, nowMs);
    turn += 1;
    const reason = turn % 2 === 0 ? 'metric-failed' : 'no-samples';
    return { ...decision, record: { ...decision.record, reason } };
  };
  const it = await lead(t, [service], [], { decide: fickle });
  await it.clock.advance(600_000);
  t.true(it.writes.length <= 1);
});

test('many services that say why nothing changes are written a few at a time', async (t) => {
  const services = Array.from({ length: 200 }, () => scaledService({ replicas: 3 }));
  const it = await lead(t, services, []);
  await it.clock.advance(20_000);
  t.deepEqual(
    it.writes.map((actions) => actions.length),
    [64, 64, 64, 8],
  );
  t.is(it.store.count('autoscaling'), 200);
});

test('a connection that is held is decided about at once', async (t) => {
  const service = scaledService({ replicas: 0, autoscale: { min: 0 }, endpoint: PUBLISHED });
  const it = await lead(t, [service], []);
  await it.clock.advance(1_500);
  t.is(it.replicas(service.id), 0);
  it.knock(service.id, 3);
  await it.clock.advance(50);
  t.is(it.replicas(service.id), 1);
  t.is(it.stored(service.id)?.records.at(-1)?.reason, 'woken');
  t.deepEqual(it.stored(service.id)?.records.at(-1)?.to, 1);
});

test('a node wakes no service that its tasks cannot reach', async (t) => {
  const network = networkFixture();
  const inner = { virtualIps: [{ networkId: network.id, address: '10.1.0.2/24' }], ports: [] };
  const service = scaledService({ replicas: 0, autoscale: { min: 0 }, endpoint: inner });
  const other = serviceFixture();
  const client = taskOf(other, {
    nodeId: 'n1',
    status: { state: TaskState.RUNNING },
    networks: [{ networkId: network.id, addresses: ['10.1.0.3/24'] }],
  });
  const it = await lead(t, [service, other], [{ ...client, nodeId: 'n2' }]);
  await it.clock.advance(1_500);
  it.knock(service.id);
  await it.clock.advance(1_500);
  t.is(it.replicas(service.id), 0);
  await it.add([taskOf(other, { ...client, id: fixtureId('client') })]);
  it.knock(service.id);
  await it.clock.advance(50);
  t.is(it.replicas(service.id), 1);
});

test('connections that are held once a task is on its way wait for the next round', async (t) => {
  const service = scaledService({ replicas: 1, autoscale: { min: 0 }, endpoint: PUBLISHED });
  const knocks: number[] = [];
  const it = await lead(t, [service], [], {
    decide: (spec, memory, input, nowMs) => {
      knocks.push(input.knocks);
      return decide(spec, memory, input, nowMs);
    },
  });
  await it.clock.advance(500);
  it.knock(service.id, 2);
  it.knock(service.id, 3);
  await it.clock.advance(300);
  t.deepEqual(knocks, [0]);
  await it.clock.advance(1_300);
  t.deepEqual(knocks, [0, 5, 0]);
});

test('a new leader takes nothing away until it has looked for as long as the one before it', async (t) => {
  const service = scaledService({ replicas: 4 });
  const tasks = readyTasks(service, 4);
  const first = await lead(t, [service], tasks);
  for (let second = 0; second < 200; second++) {
    first.sample(tasks, { cpuCores: 0.35 });
    await first.clock.advance(1_000);
  }
  await first.end();
  const second = await lead(t, [], [], { fixture: first.fixture });
  let seconds = 0;
  for (; second.replicas(service.id) === 4 && seconds < 400; seconds++) {
    second.sample(tasks, { cpuCores: 0.01 });
    await second.clock.advance(1_000);
  }
  t.true(seconds >= 119, `${seconds} s`);
  t.true(seconds < 150, `${seconds} s`);
});

test('a window runs on while leaders come and go, and the log does not tell of it', async (t) => {
  const service = scaledService({ replicas: 4 });
  const tasks = readyTasks(service, 4);
  let leader = await lead(t, [service], tasks);
  const { fixture } = leader;
  const seconds = async (count: number, cpuCores: number) => {
    for (let i = 0; i < count; i++) {
      leader.sample(tasks, { cpuCores });
      await leader.clock.advance(1_000);
    }
  };
  const next = async () => {
    await leader.end();
    leader = await lead(t, [], [], { fixture });
  };
  await seconds(60, 0.35);
  t.is(leader.stored(service.id)?.memory?.ceiling, undefined, 'all four are asked for');
  await seconds(80, 0.12);
  const told = leader.stored(service.id)?.records;
  t.is(leader.stored(service.id)?.memory?.ceiling, 2);
  await next();
  await seconds(30, 0.12);
  t.is(leader.replicas(service.id), 4, 'not yet two minutes');
  await next();
  await seconds(40, 0.12);
  t.is(leader.replicas(service.id), 2);
  t.deepEqual(leader.stored(service.id)?.records.slice(0, told?.length), told);
});

test('whoever recommends more than what is vouched for writes that at once', async (t) => {
  const service = scaledService({ replicas: 4 });
  const tasks = readyTasks(service, 4);
  const it = await lead(t, [service], tasks);
  const seconds = async (count: number, cpuCores: number) => {
    for (let i = 0; i < count; i++) {
      it.sample(tasks, { cpuCores });
      await it.clock.advance(1_000);
    }
  };
  const stored = () => it.stored(service.id)?.memory?.ceiling;
  const untold = () =>
    it.writes
      .flat()
      .filter(({ action }) => action?.$case === 'scaleDecision' && !action.value.record);
  await seconds(60, 0.08);
  t.is(stored(), 1);
  const before = untold().length;
  await seconds(20, 0.12);
  t.is(stored(), 2);
  t.is(untold().length, before + 1);
  await seconds(100, 0.12);
  t.is(it.replicas(service.id), 2);
  t.is(untold().length, before + 1, 'what stays as it is costs nothing');
});

test('a new leader without samples leaves every count as it is', async (t) => {
  const service = scaledService({ replicas: 4 });
  const first = await lead(t, [service], readyTasks(service, 4));
  await first.end();
  const second = await lead(t, [], [], { fixture: first.fixture });
  await second.clock.advance(1_000_000);
  t.is(second.replicas(service.id), 4);
  t.is(first.outside.closed, 1);
});

test('what a decision is made from is in the store, the samples and the sources', async (t) => {
  const service = scaledService({
    replicas: 3,
    autoscale: {
      metrics: [
        { kind: { $case: 'memory', value: { average: 1000 } } },
        {
          name: 'jobs',
          kind: {
            $case: 'redisList',
            value: { address: 'redis:6379', key: 'jobs', target: { perReplica: 5 } },
          },
        },
      ],
    },
    updateStatus: { state: 'paused' },
  });
  const [ready] = readyTasks(service, 1);
  if (ready === undefined) throw new Error('one was asked for');
  const unplaced = taskOf(service, {
    status: {
      state: TaskState.PENDING,
      err: 'no suitable node (insufficient resources on 1 node)',
    },
  });
  const placed = taskOf(service, { nodeId: 'n2', status: { state: TaskState.PREPARING } });
  const stopping = taskOf(service, {
    nodeId: 'n2',
    desiredState: TaskState.SHUTDOWN,
    status: { state: TaskState.RUNNING, healthy: true },
  });
  const failed = taskOf(service, { nodeId: 'n2', status: { state: TaskState.FAILED } });
  let seen: DecisionInput | undefined;
  const it = await lead(t, [service], [ready, unplaced, placed, stopping, failed], {
    decide: (spec, memory, input, nowMs) => {
      seen = input;
      return decide(spec, memory, input, nowMs);
    },
  });
  t.deepEqual(
    it.outside.wanted.map(({ key }) => key),
    [`${service.id}/jobs`],
  );
  const value = { stable: 7, fast: 7 };
  it.outside.readings.set(`${service.id}/jobs`, { kind: 'value', value });
  it.sample([ready, placed], { memoryBytes: 500, cpuCores: 1 });
  // Another node's task, and one that nobody knows.
  it.sample(
    [
      { ...ready, nodeId: 'n9' },
      { ...ready, id: 'x' },
    ],
    { memoryBytes: 9_999 },
  );
  await it.clock.advance(1_000);
  t.deepEqual(seen, {
    replicas: 3,
    setReplicas: undefined,
    tasks: [
      { phase: 'ready', readySinceMs: Date.UTC(2025, 11, 31) },
      { phase: 'unplaced', readySinceMs: 0 },
      { phase: 'starting', readySinceMs: 0 },
    ],
    metrics: [
      {
        kind: 'tasks',
        loads: [
          { stable: 500, fast: 500 },
          { stable: undefined, fast: undefined },
          { stable: undefined, fast: undefined },
        ],
      },
      { kind: 'value', value },
    ],
    request: { cores: 0.5, memoryBytes: undefined },
    updating: true,
    knocks: 0,
  });
});

test('what was measured of a task before it became ready is not about its load', async (t) => {
  const service = scaledService();
  const task = taskOf(service, { nodeId: 'n1', status: { state: TaskState.STARTING } });
  let seen: DecisionInput | undefined;
  const it = await lead(t, [service], [task], {
    decide: (spec, memory, input, nowMs) => {
      seen = input;
      return decide(spec, memory, input, nowMs);
    },
  });
  const cpuNow = () => {
    const [metric] = seen?.metrics ?? [];
    return metric?.kind === 'tasks' ? metric.loads[0]?.stable : 'none';
  };
  it.sample([task], { cpuCores: 4 });
  await it.clock.advance(1_000);
  const stored = it.store.get('task', task.id);
  const status = { state: TaskState.RUNNING, healthy: true, atMs: it.clock.now() };
  if (stored === undefined) throw new Error('it is there');
  await it.writer.write([
    updateAction('task', {
      ...stored,
      status: { container: undefined, ports: [], message: '', err: '', ...status },
    }),
  ]);
  await it.clock.advance(500);
  it.sample([task], { cpuCores: 3 }); // began half a second before
  await it.clock.advance(600);
  t.is(cpuNow(), undefined);
  it.sample([task], { cpuCores: 0.1 });
  await it.clock.advance(1_000);
  t.is(cpuNow(), 0.1);
});

test('what was kept goes with the service', async (t) => {
  const [gone, left] = [scaledService({ replicas: 12 }), 'x'];
  const first = await lead(t, [gone], []);
  await first.clock.advance(1_000);
  t.truthy(first.stored(gone.id));
  await first.writer.write([removeAction('service', gone.id)]);
  await first.clock.advance(100);
  t.is(first.stored(gone.id), undefined);

  // One that a leader could not remove any more.
  await first.end();
  await first.writer.write([
    {
      action: {
        $case: 'create',
        value: {
          kind: { $case: 'autoscaling', value: Autoscaling.fromPartial({ id: left, memory: {} }) },
        },
      },
    },
  ]);
  const second = await lead(t, [], [], { fixture: first.fixture });
  await second.clock.advance(100);
  t.is(second.stored(left), undefined);
});

for (const [how, switchOff] of [
  [
    'mode off',
    (spec) => ({ ...spec, autoscale: spec.autoscale && { ...spec.autoscale, mode: 'off' } }),
  ],
  ['no scaling at all', (spec) => ({ ...spec, autoscale: undefined })],
] satisfies [string, (spec: ServiceSpec) => ServiceSpec][]) {
  test(`${how} ends the log of a service and keeps it, until the service is removed`, async (t) => {
    const service = scaledService({ replicas: 12 });
    const it = await lead(t, [service], []);
    await it.clock.advance(1_000);
    await it.change(service.id, switchOff);
    await it.clock.advance(5_000);
    const reasons = () => it.stored(service.id)?.records.map(({ reason }) => reason);
    t.deepEqual(reasons(), ['above-max', 'off']);
    const request = { services: [service.id], records: true, replay: true };
    const [told] = it.autoscaler.describe(request).services;
    t.is(told?.spec, undefined);
    t.deepEqual(
      told?.records.map(({ reason }) => reason),
      ['above-max', 'off'],
    );
    t.deepEqual(told?.replayed[0]?.differs, []);
    const after = it.stored(service.id);
    t.is(after?.setReplicas, undefined);
    t.deepEqual(after?.memory?.events, []);

    // Once only: neither another change of the service nor another leader says it again.
    await it.change(service.id, (spec) => withReplicas(spec, 3));
    await it.end();
    const next = await lead(t, [], [], { fixture: it.fixture });
    await next.clock.advance(5_000);
    t.deepEqual(reasons(), ['above-max', 'off']);
    await next.writer.write([removeAction('service', service.id)]);
    await next.clock.advance(100);
    t.is(next.stored(service.id), undefined);
  });
}

test('a leader ends logs of services that were switched off while none led', async (t) => {
  const service = scaledService({ replicas: 12 });
  const first = await lead(t, [service], []);
  await first.clock.advance(1_000);
  await first.end();
  await first.change(service.id, (spec) => ({ ...spec, autoscale: undefined }));
  const second = await lead(t, [], [], { fixture: first.fixture });
  await second.clock.advance(100);
  t.is(second.stored(service.id)?.records.at(-1)?.reason, 'off');
});

test('scaling that is switched on again begins anew, with the log there was', async (t) => {
  const service = scaledService({ replicas: 12 });
  const it = await lead(t, [service], []);
  await it.clock.advance(1_000);
  await it.change(service.id, (spec) => ({ ...spec, autoscale: undefined }));
  await it.clock.advance(1_000);
  await it.change(service.id, (spec) => withReplicas(spec, 11));
  await it.change(service.id, (spec) => ({ ...spec, autoscale: service.spec?.autoscale }));
  await it.clock.advance(1_000);
  // 11 were set while it was off: nobody's hand holds them now.
  t.is(it.replicas(service.id), 10);
  t.deepEqual(
    it.stored(service.id)?.records.map(({ reason }) => reason),
    ['above-max', 'off', 'above-max'],
  );
});

test('a count that an operator set is held and told of', async (t) => {
  const service = scaledService({ replicas: 12 });
  const it = await lead(t, [service], []);
  await it.clock.advance(1_000);
  await it.change(service.id, (spec) => withReplicas(spec, 3));
  await it.clock.advance(20_000);
  t.is(it.replicas(service.id), 3);
  const last = it.stored(service.id)?.records.at(-1);
  t.is(last?.reason, 'scaled-by-hand');
  const request = { services: [service.spec?.name ?? ''], records: true, replay: true };
  const [told] = it.autoscaler.describe(request).services;
  t.true(told?.setByHand);
  t.is(told?.replicas, 3);
  t.is(told?.last?.reason, 'scaled-by-hand');
  t.is(told?.records.length, 2);
  t.deepEqual(
    told?.replayed.map(({ differs }) => differs),
    [[], []],
  );
});

test('a decision that breaks keeps no other service from its own', async (t) => {
  const broken = scaledService({ replicas: 12, autoscale: { max: 9 } });
  const sound = scaledService({ replicas: 12 });
  const it = await lead(t, [broken, sound], [], {
    decide: (spec, memory, input, nowMs) => {
      if (spec.max === 9) throw new Error('a bug');
      return decide(spec, memory, input, nowMs);
    },
  });
  await it.clock.advance(500);
  t.is(it.replicas(broken.id), 12);
  t.is(it.replicas(sound.id), 10);
});

test('nobody is told anything by a manager that does not lead', async (t) => {
  const it = await lead(t, [], []);
  await it.end();
  const request = { services: [], records: false, replay: false };
  t.throws(() => it.autoscaler.describe(request), { instanceOf: NotLeaderError });
  t.throws(() => it.autoscaler.report({ nodes: [] }), { instanceOf: NotLeaderError });
});
