// Goal: a service follows its load through all that a cluster does to it: writes that fail or come late, leaders that
// change, tasks that take their time. Method: the leader's real loops over the in-memory store, fake hosts, and a load
// that the running tasks share; each run is made by one seed.
import test from 'ava';
import { Autoscaler } from '../../../manager/autoscaler/autoscaler.ts';
import { decide } from '../../../manager/autoscaler/decide.ts';
import type { LeaderDeps } from '../../../manager/loop.ts';
import { NotLeaderError } from '../../../shared/errors.ts';
import type { SampleBatch } from '../../../shared/gen/shoal/v1/peer.ts';
import { SimulatedCluster } from '../../support/leader.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { Outside, scaledService } from './leading.ts';

const SECOND_MS = 1_000;

async function clusterOf(seed: number, startMs: number) {
  const random = new SeededRandom(seed);
  let autoscaler: Autoscaler | undefined;
  const cluster = await SimulatedCluster.start({
    seed,
    faults: new SeededRandom(seed + 1_000),
    behaviour: () => ({ startMs: startMs * (0.5 + random.next()), stopMs: 100 }),
    loop: (deps: LeaderDeps, signal) => {
      autoscaler = new Autoscaler({ ...deps, decide, openOutside: () => new Outside() });
      return autoscaler.run(signal);
    },
  });
  const report = (batch: SampleBatch) => {
    try {
      autoscaler?.report(batch);
    } catch (error) {
      if (!(error instanceof NotLeaderError)) throw error;
    }
  };
  const replicas = (id: string) => {
    const mode = cluster.service(id).spec?.mode;
    return mode?.$case === 'replicated' ? (mode.value.replicas ?? 1) : -1;
  };
  /** A second in which the running tasks share so many cores and requests; some samples get lost. */
  const second = async (id: string, load: { cores?: number; requests?: number; lost?: number }) => {
    await cluster.run(SECOND_MS);
    const running = cluster.serving(id);
    for (const task of running) {
      if (random.next() < (load.lost ?? 0)) continue;
      const sample = {
        taskId: task.id,
        serviceId: id,
        windowMs: SECOND_MS,
        cpuCores: Math.min(1, (load.cores ?? 0) / running.length),
        requests: (load.requests ?? 0) / running.length,
      };
      const samples = { samples: [sample], knocks: [] };
      report({ nodes: [{ nodeId: task.nodeId, ageMs: 300, samples }] });
    }
  };
  const changeLeader = async () => {
    await cluster.stopLeading();
    cluster.lead();
  };
  return { cluster, random, report, replicas, second, changeLeader };
}

for (let seed = 1; seed <= 8; seed++) {
  test(`leaders come and go, and the count follows the load, seed ${seed}`, async (t) => {
    const it = await clusterOf(seed, 2_000);
    const id = await it.cluster.create(scaledService({ replicas: 1 }));
    const counts = new Set<number>();
    it.cluster.onStep = () => counts.add(it.replicas(id));
    const play = async (seconds: number, cores: number) => {
      let untilLeader = 10;
      for (let i = 0; i < seconds; i++) {
        await it.second(id, { cores, lost: 0.2 });
        untilLeader -= 1;
        if (untilLeader > 0) continue;
        await it.changeLeader();
        untilLeader = 15 + Math.floor(20 * it.random.next());
      }
    };
    // 0.35 cores a task are the target: six tasks, and some that were asked for while these were on their way.
    await play(60, 2.1);
    const reached = it.replicas(id);
    t.true(reached >= 6 && reached <= 8, String(reached));
    counts.clear();
    await play(300, 2.1);
    const inOrder = [...counts];
    t.deepEqual(
      inOrder,
      inOrder.toSorted((a, b) => b - a),
      'what was too much goes, and no more',
    );
    t.true(it.replicas(id) >= 6, String(it.replicas(id)));
    t.is(it.cluster.serving(id).length, it.replicas(id));
    counts.clear();
    await play(60, 30);
    t.is(it.replicas(id), 10);
    t.true(Math.min(...counts) >= 6);
    counts.clear();
    // A new leader takes nothing away before it has looked for as long as any leader.
    await it.changeLeader();
    for (let i = 0; i < 85; i++) await it.second(id, { cores: 0.1 });
    t.deepEqual([...counts], [10]);
    for (let i = 0; i < 120; i++) await it.second(id, { cores: 0.1 });
    t.is(it.replicas(id), 1);
    t.is(it.cluster.serving(id).length, 1);
    await it.cluster.stopLeading();
  });
}

for (let seed = 1; seed <= 4; seed++) {
  test(`a service goes to none and comes back for who knocks, seed ${seed}`, async (t) => {
    const it = await clusterOf(seed, 500);
    const cooldownToZeroNs = 60e9;
    const metrics = [{ kind: { $case: 'requests' as const, value: { perReplica: 100 } } }];
    const service = scaledService({
      replicas: 2,
      autoscale: { min: 0, metrics, cooldownToZeroNs },
      spec: {
        endpoint: { ports: [{ protocol: 'tcp', targetPort: 80, publishMode: 'ingress' }] },
      },
    });
    const id = await it.cluster.create(service);
    for (let i = 0; i < 30; i++) await it.second(id, { requests: 150 });
    t.is(it.replicas(id), 2);
    for (let i = 0; i < 90; i++) await it.second(id, {});
    t.is(it.replicas(id), 0);
    t.is(it.cluster.serving(id).length, 0);
    await it.changeLeader();
    await it.cluster.run(100);
    const knock = { samples: [], knocks: [{ serviceId: id, connections: 1 }] };
    it.report({ nodes: [{ nodeId: 'any', ageMs: 0, samples: knock }] });
    await it.cluster.until(() => it.cluster.serving(id).length === 1);
    t.is(it.replicas(id), 1);
    // Nobody comes after: it goes again, once the cooldown is over.
    for (let i = 0; i < 50; i++) await it.second(id, {});
    t.is(it.replicas(id), 1);
    for (let i = 0; i < 30; i++) await it.second(id, {});
    t.is(it.replicas(id), 0);
    await it.cluster.stopLeading();
  });
}
