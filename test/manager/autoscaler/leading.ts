// The autoscaler over the in-memory store under a clock that the test moves: agents and outside sources say what
// the test lets them say.
import type { ExecutionContext } from 'ava';
import { Autoscaler } from '../../../manager/autoscaler/autoscaler.ts';
import { decide as realDecide } from '../../../manager/autoscaler/decide.ts';
import type { OutsideMetric, OutsideReading } from '../../../manager/autoscaler/sources.ts';
import type { Decide } from '../../../manager/autoscaler/types.ts';
import { createAction, updateAction } from '../../../manager/store/tables.ts';
import type { Writer } from '../../../manager/store/types.ts';
import type { AutoscaleSpec, TaskSample } from '../../../shared/gen/shoal/v1/autoscale.ts';
import {
  type Autoscaling,
  type Service,
  type Task,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../../shared/gen/shoal/v1/store.ts';
import { silentLog } from '../../../shared/log.ts';
import { settle } from '../../support/manual-clock.ts';
import { networkFixture, serviceFixture, taskOf, taskSpecFixture } from '../../support/objects.ts';
import { type StoreFixture, storeFixture } from '../../support/store.ts';
import type { MessageInitShape } from '../../support/types.ts';

const INGRESS = networkFixture({
  spec: { name: 'ingress', driver: 'overlay', ingress: true },
});

/** Of a service that publishes a port on every host. */
export const PUBLISHED = {
  virtualIps: [{ networkId: INGRESS.id, address: '10.0.0.9/24' }],
  ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 30_000, publishMode: 'ingress' }],
};

/** cpu at 70 % of half a core, between 1 and 10; nothing is taken away for two minutes. */
export function scaledService(
  fields: Parameters<typeof serviceFixture>[0] & {
    autoscale?: Partial<MessageInitShape<typeof AutoscaleSpec>>;
    replicas?: number;
  } = {},
): Service {
  const { autoscale, replicas = 1, spec, ...rest } = fields;
  return serviceFixture({
    ...rest,
    spec: {
      mode: { $case: 'replicated', value: { replicas } },
      task: taskSpecFixture({ resources: { reservations: { nanoCpus: 500_000_000 } } }),
      autoscale: { max: 10, down: { stabilizeNs: 120e9 }, ...autoscale },
      ...spec,
    },
  });
}

export function readyTasks(service: Service, count: number, nodeId = 'n1'): Task[] {
  return Array.from({ length: count }, (_, i) =>
    taskOf(service, {
      slot: i + 1,
      nodeId,
      status: { state: TaskState.RUNNING, healthy: true, atMs: Date.UTC(2025, 11, 31) },
    }),
  );
}

export class Outside {
  wanted: readonly OutsideMetric[] = [];
  readonly readings = new Map<string, OutsideReading>();
  closed = 0;
  follow(wanted: readonly OutsideMetric[]): void {
    this.wanted = wanted;
  }
  latest(key: string): OutsideReading | undefined {
    return this.readings.get(key);
  }
  async close(): Promise<void> {
    this.closed += 1;
  }
}

/** A leader over what is in the store. `fixture`: of a leader before it. */
export async function lead(
  t: Pick<ExecutionContext, 'teardown'>,
  services: readonly Service[],
  tasks: readonly Task[],
  options: { decide?: Decide; fixture?: StoreFixture; writer?: (writer: Writer) => Writer } = {},
) {
  const fixture =
    options.fixture ?? (await storeFixture({ network: [INGRESS], service: services, task: tasks }));
  const { store, clock, random } = fixture;
  const writes: (readonly StoreAction[])[] = [];
  const inner = options.writer?.(fixture.writer) ?? fixture.writer;
  const writer: Writer = {
    write: (actions, signal) => {
      writes.push(actions);
      return inner.write(actions, signal);
    },
  };
  const outside = new Outside();
  const autoscaler = new Autoscaler({
    store,
    writer,
    clock,
    random,
    log: silentLog,
    decide: options.decide ?? realDecide,
    openOutside: () => outside,
  });
  const stop = new AbortController();
  const running = autoscaler.run(stop.signal);
  let isStopped = false;
  const end = async () => {
    if (isStopped) return;
    isStopped = true;
    stop.abort(new Error('no longer the leader'));
    await running;
  };
  t.teardown(end);
  await settle();
  const service = (id: string) => store.get('service', id) as Service;
  return {
    ...fixture,
    fixture,
    autoscaler,
    outside,
    writes,
    end,
    service,
    replicas: (id: string) => {
      const mode = service(id).spec?.mode;
      return mode?.$case === 'replicated' ? (mode.value.replicas ?? 1) : -1;
    },
    stored: (id: string): Autoscaling | undefined => store.get('autoscaling', id),
    /** One sample of each task, of the second that ends now. */
    sample(of: Iterable<Task>, values: Partial<TaskSample>): void {
      const byNode = new Map<string, TaskSample[]>();
      for (const task of of) {
        const list = byNode.get(task.nodeId) ?? [];
        list.push({ taskId: task.id, serviceId: task.serviceId, windowMs: 1_000, ...values });
        byNode.set(task.nodeId, list);
      }
      const nodes = [...byNode].map(([nodeId, samples]) => ({
        nodeId,
        ageMs: 0,
        samples: { samples, knocks: [] },
      }));
      autoscaler.report({ nodes });
    },
    knock(serviceId: string, connections = 1): void {
      const samples = { samples: [], knocks: [{ serviceId, connections }] };
      autoscaler.report({ nodes: [{ nodeId: 'n1', ageMs: 0, samples }] });
    },
    async add(tasks_: readonly Task[]): Promise<void> {
      await fixture.writer.write(tasks_.map((task) => createAction('task', task)));
    },
    async change(id: string, change: (spec: Service['spec'] & object) => Service['spec'] & object) {
      const stored = service(id);
      const spec = change(stored.spec as Service['spec'] & object);
      await fixture.writer.write([updateAction('service', { ...stored, spec })]);
    },
  };
}
