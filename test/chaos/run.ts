import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../shared/errors.ts';
import { SeededRandom } from '../sim/random.ts';
import { Board, type ClientPorts, runClient } from './client.ts';
import { ChaosCluster } from './cluster.ts';
import { History } from './history.ts';
import { Nemesis } from './nemesis.ts';
import { planFaults } from './plan.ts';
import { askForAll, type Seen, seenInList } from './registers.ts';
import { StaleReads } from './stale-reads.ts';
import { faultsOf } from './verdict.ts';

const CLIENTS_OF_HOST = 4;
/** After healing, for managers that wait before they are started again, and for a loaded machine. */
const CONVERGE_WITHIN_MS = 60_000;
const ASK_WITHIN_MS = 15_000;
/** Client number of the reads at the end, above all others. */
const LAST_READER = 1_000;

export type ChaosOptions = Readonly<{
  /** Name of the local cluster. */
  cluster: string;
  seed: number;
  durationMs: number;
  historyFile: string;
  /** A mistake to be found: clients inspect objects without asking the leader. */
  staleReads?: boolean;
  tell: (line: string) => void;
}>;
export type ChaosResult = Readonly<{
  history: History;
  nemesis: Nemesis;
  /** How often a manager said that its disk is full. */
  fullDisks: number;
  /** What is wrong; empty when nothing is. */
  found: readonly string[];
}>;

/**
 * A whole run on a cluster of its own, which is down afterwards; the daemons' logs of a run that failed lie
 * beside its history. Throws when it could not be carried out.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const cluster = new ChaosCluster(options.cluster);
  let isGood = false;
  try {
    await cluster.up();
    const result = await runOn(cluster, options);
    isGood = result.found.length === 0;
    return result;
  } finally {
    if (!isGood) cluster.keepLogs(`${options.historyFile}.logs`);
    await cluster.down();
  }
}

async function runOn(cluster: ChaosCluster, options: ChaosOptions): Promise<ChaosResult> {
  const random = new SeededRandom(options.seed);
  const faults = planFaults(random.fork(), cluster.hosts.length, options.durationMs);
  const history = new History(options.historyFile);
  const nemesis = new Nemesis(cluster, history);
  const board = new Board();
  const stale = new StaleReads(cluster);
  const ports: ClientPorts = {
    ask: (host, { method, path, body }, withinMs) =>
      options.staleReads && isInspect(method, path)
        ? stale.ask(host, path, withinMs)
        : cluster.ask(host, method, path, body, withinMs),
    history,
    board,
  };
  let isOver = false;
  const clients = cluster.hosts.flatMap((host, h) =>
    Array.from({ length: CLIENTS_OF_HOST }, (_, i) => {
      const id = h * CLIENTS_OF_HOST + i + 1;
      return runClient(id, host, ports, random.fork(), () => isOver).catch((error: unknown) => {
        board.absurd.push(`client ${id} of ${host} broke: ${messageOf(error)}`);
      });
    }),
  );
  try {
    await nemesis.run(faults);
    await sleep(Math.max(0, options.durationMs - history.now()));
  } finally {
    isOver = true;
    history.fault('healing');
    await nemesis.heal();
    await Promise.all(clients);
    stale.close();
    history.flush();
  }
  options.tell(`healed after ${(history.now() / 1_000).toFixed(0)} s, reading all registers`);
  const different = await readAll(cluster, board, history);
  history.flush();
  const found = [...board.absurd, ...different, ...faultsOf(history.calls)];
  return { history, nemesis, fullDisks: cluster.said('the disk is full'), found };
}

function isInspect(method: string, path: string): boolean {
  return method === 'GET' && !path.includes('?');
}

/** Reads every register through every manager; says where they differ. */
async function readAll(cluster: ChaosCluster, board: Board, history: History): Promise<string[]> {
  const lists: Map<number, Seen>[] = [];
  for (const [i, host] of cluster.hosts.entries()) {
    const call = history.now();
    const found = await everything(cluster, host, call + CONVERGE_WITHIN_MS, history);
    if (found === undefined) return [`${host} does not answer after all was healed`];
    lists.push(found.seen);
    for (const key of board.keys) {
      const seen = found.seen.get(key);
      history.add({
        client: LAST_READER + i,
        host,
        input: { kind: 'get', key },
        output: seen?.value ?? 0,
        call: found.call,
        return: history.now(),
        ...(seen && { version: seen.version }),
      });
    }
  }
  const [first, ...others] = lists.map((list) =>
    JSON.stringify([...list].sort(([a], [b]) => a - b)),
  );
  return others.flatMap((other, i) =>
    other === first
      ? []
      : [`${cluster.hosts[i + 1]} and ${cluster.hosts[0]} have different objects`],
  );
}

async function everything(
  cluster: ChaosCluster,
  host: string,
  until: number,
  history: History,
): Promise<{ seen: Map<number, Seen>; call: number } | undefined> {
  while (history.now() < until) {
    const call = history.now();
    const replies = await Promise.all(
      (['configs', 'services'] as const).map((folder) => {
        const { method, path } = askForAll(folder);
        return cluster.ask(host, method, path, undefined, ASK_WITHIN_MS);
      }),
    );
    const texts = replies.flatMap((reply) =>
      reply.kind === 'answer' && reply.status === 200 ? [reply.text] : [],
    );
    if (texts.length === replies.length) {
      return { seen: new Map(texts.flatMap((text) => [...seenInList(text)])), call };
    }
    await sleep(200);
  }
  return undefined;
}

/** A run in a few lines: calls by kind and outcome, faults by kind. */
export function summaryOf({ history, nemesis, fullDisks }: ChaosResult): string {
  const counts = new Map<string, number>();
  for (const { input, output, client } of history.calls) {
    const creates = input.kind === 'cas' && input.expected === 0;
    const what =
      input.kind === 'get'
        ? client >= LAST_READER
          ? 'last reads'
          : 'reads'
        : creates
          ? 'creates'
          : 'swaps';
    const outcome =
      output === undefined
        ? ' unknown'
        : input.kind === 'get'
          ? ''
          : output === 1
            ? ' ok'
            : ' lost';
    counts.set(what + outcome, (counts.get(what + outcome) ?? 0) + 1);
  }
  const refused = [...history.refused.values()].reduce((sum, count) => sum + count, 0);
  const list = (of: ReadonlyMap<string, number>) =>
    [...of]
      .sort()
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  return [
    `calls: ${list(counts)}, refused or failed reads ${refused}`,
    `faults: ${list(nemesis.done)}; managers that said their disk is full: ${fullDisks}`,
  ].join('\n');
}
