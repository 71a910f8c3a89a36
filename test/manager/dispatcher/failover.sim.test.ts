// Goal: when the host of a manager dies without a word, the agents it served are with another manager
// before the leader gives them up, and the host itself is given up in time.
// Method: two dispatchers, the leader's liveness and real agent sessions on one virtual clock; the links
// between them have latency from a seed. At a moment from the seed everything on the first manager's
// host stops: what is on its way to or from it is lost, and nobody is told. A run repeats from its seed.
import test from 'ava';
import type { ManagerLink } from '../../../agent/session/link.ts';
import { ManagerDirectory } from '../../../agent/session/managers.ts';
import { AgentSession } from '../../../agent/session/session.ts';
import { Dispatcher } from '../../../manager/dispatcher/dispatcher.ts';
import { LeaderLiveness } from '../../../manager/dispatcher/leader-liveness.ts';
import { sleep } from '../../../shared/clock.ts';
import { type AgentMessage, ManagerMessage } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { NodeDescription, NodeState } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { type Random, randomInt } from '../../../shared/random.ts';
import type { ManualClock } from '../../support/manual-clock.ts';
import { clusterFixture, nodeFixture } from '../../support/objects.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { storeFixture } from '../../support/store.ts';

const LATENCY_MOST_MS = 20;
const WORKERS = ['w1', 'w2', 'w3', 'w4'];

/** A pipe with latency that keeps the order; a host that died neither sends nor gets. */
class Pipe<T> {
  readonly #items: T[] = [];
  readonly #clock: ManualClock;
  readonly #random: Random;
  readonly #isAlive: () => boolean;
  #readyMs = 0;
  #wake: () => void = () => undefined;
  #isClosed = false;

  constructor(clock: ManualClock, random: Random, isAlive: () => boolean) {
    this.#clock = clock;
    this.#random = random;
    this.#isAlive = isAlive;
  }

  send(item: T): void {
    const nowMs = this.#clock.monotonicMs();
    this.#readyMs = Math.max(this.#readyMs, nowMs + randomInt(this.#random, 1, LATENCY_MOST_MS));
    this.#clock.after(this.#readyMs - nowMs, () => {
      if (!this.#isAlive()) return;
      this.#items.push(item);
      this.#wake();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    while (!this.#isClosed) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

async function simulate(seed: number) {
  const fixture = await storeFixture(
    {
      cluster: [clusterFixture()],
      node: ['m1', 'm2', ...WORKERS].map((id) =>
        nodeFixture({
          id,
          status: { state: NodeState.UNKNOWN },
          ...(id.startsWith('m') ? { managerStatus: { raftId: id, address: id } } : {}),
        }),
      ),
    },
    { seed },
  );
  const { clock, store } = fixture;
  const random = new SeededRandom(seed);
  const dead = new Set<string>();
  const stop = new AbortController();
  const liveness = new LeaderLiveness({ ...fixture, log: silentLog });
  const loops = [liveness.run(stop.signal)];
  const dispatchers = new Map<string, Dispatcher>();
  for (const nodeId of ['m1', 'm2']) {
    const dispatcher = new Dispatcher({
      ...fixture,
      nodeId,
      leader: {
        reportTaskStatuses: async () => undefined,
        reportSamples: async () => undefined,
        awaitApplied: async () => ({ behind: [] }),
        reportLiveness: async (digest, signal) => {
          if (nodeId !== 'm2') await sleep(clock, randomInt(random, 1, LATENCY_MOST_MS), signal);
          if (!dead.has(nodeId)) liveness.report(digest);
        },
      },
      log: silentLog,
    });
    dispatchers.set(nodeId, dispatcher);
    loops.push(dispatcher.run(stop.signal));
  }

  const linkOf = (nodeId: string): ManagerLink => ({
    open(target) {
      const isAlive = () => !dead.has(target) && !dead.has(nodeId);
      const up = new Pipe<AgentMessage>(clock, random, isAlive);
      const down = new Pipe<ManagerMessage>(clock, random, isAlive);
      const cut = new AbortController();
      void (async () => {
        try {
          const messages = dispatchers.get(target)?.session(nodeId, up, cut.signal);
          for await (const bytes of messages ?? []) down.send(ManagerMessage.decode(bytes));
        } finally {
          if (isAlive()) down.close();
        }
      })().catch(() => undefined);
      return {
        send: async (message) => up.send(message),
        messages: down,
        cancel: () => {
          down.close();
          // A manager that died does not learn of it, and to the dead nothing matters.
          if (!isAlive()) return;
          cut.abort();
          up.close();
        },
      };
    },
    publish: async () => undefined,
    close: () => undefined,
  });
  const handler = {
    assignments: () => undefined,
    update: () => undefined,
    logs: () => undefined,
    connected: () => undefined,
  };
  const start = (nodeId: string, first: string) => {
    const managers = ['m1', 'm2'].map((address) => ({ nodeId: address, address }));
    const directory = new ManagerDirectory(nodeId, managers, random);
    directory.setLocal(first); // where its session is to begin
    const session = new AgentSession({
      link: linkOf(nodeId),
      managers: directory,
      handler,
      clock,
      random,
      log: silentLog,
      description: NodeDescription.fromPartial({ hostname: nodeId }),
      address: nodeId,
    });
    session.start();
    return session;
  };
  const sessions = ['m1', 'm2', ...WORKERS].map((id) => start(id, id === 'm2' ? 'm2' : 'm1'));

  /** Each state a node came to be in, with the time. */
  const history: { nodeId: string; state: NodeState; atMs: number }[] = [];
  store.onCommit(({ changes }) => {
    for (const change of changes) {
      if (change.table !== 'node') continue;
      const state = change.object.status?.state ?? NodeState.UNKNOWN;
      if (state === change.previous?.status?.state) continue;
      history.push({ nodeId: change.object.id, state, atMs: clock.monotonicMs() });
    }
  });
  await clock.advance(5_000 + randomInt(random, 0, 1_000));
  const killedMs = clock.monotonicMs();
  const before = history.splice(0);
  dead.add('m1');
  await clock.advance(15_000);
  stop.abort();
  await Promise.all([...loops, ...sessions.map((session) => session.close())]);
  return { before, after: history, killedMs };
}

for (let seed = 1; seed <= 25; seed++) {
  test(`a manager’s host dies and only it is given up, seed ${seed}`, async (t) => {
    const { before, after, killedMs } = await simulate(seed);
    const ready = before.filter(({ state }) => state === NodeState.READY);
    t.deepEqual(ready.map(({ nodeId }) => nodeId).sort(), ['m1', 'm2', ...WORKERS]);
    t.is(before.length, ready.length, 'nobody was down before');
    t.deepEqual(
      after.map(({ nodeId, state }) => ({ nodeId, state })),
      [{ nodeId: 'm1', state: NodeState.DOWN }],
    );
    const tookMs = (after[0]?.atMs ?? 0) - killedMs;
    t.true(tookMs >= 1_900 && tookMs <= 3_100, `it took ${tookMs} ms`);
  });
}
