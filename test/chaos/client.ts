import { setTimeout as sleep } from 'node:timers/promises';
import type { RegisterInput } from '../sim/linearizability/register.ts';
import type { SeededRandom } from '../sim/random.ts';
import type { Reply } from './cluster.ts';
import type { History } from './history.ts';
import {
  type Ask,
  askFor,
  askForAll,
  configKeys,
  hotKey,
  outcomeOf,
  rareKey,
  type Seen,
  seenInList,
  tellsByLosing,
} from './registers.ts';

const PATIENCE_MS = 6_000;
const THINK_MOST_MS = 80;
/** After a failure: a host that is down answers at once, and would be asked all the time. */
const REST_MS = 200;
const ROUND_MS = 45_000;

export type ClientPorts = Readonly<{
  ask(host: string, ask: Ask, withinMs: number): Promise<Reply>;
  history: History;
  board: Board;
}>;

/** What the clients of a run know together: the newest they saw of each key, and which numbers are taken. */
export class Board {
  readonly seen = new Map<number, Seen>();
  readonly keys = new Set<number>();
  /** Answers that no state of the cluster explains. */
  readonly absurd: string[] = [];
  rareKeys = 1;
  #values = 0;

  /** Never the same twice: the checker depends on it. */
  newValue(): number {
    this.#values += 1;
    return this.#values;
  }

  note(key: number, seen: Seen): void {
    const known = this.seen.get(key);
    if (known === undefined || known.version < seen.version) this.seen.set(key, seen);
  }
}

/** One client of one manager with one call at a time, until `isOver`. */
export async function runClient(
  id: number,
  host: string,
  ports: ClientPorts,
  random: SeededRandom,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    const round = Math.floor(ports.history.now() / ROUND_MS);
    const isWell = random.chance(0.1)
      ? await listRound(id, host, ports, round)
      : await callOnce(id, host, ports, inputOf(ports.board, random, round));
    await sleep(isWell ? random.between(0, THINK_MOST_MS) : REST_MS);
  }
}

function inputOf(board: Board, random: SeededRandom, round: number): RegisterInput {
  const key = random.chance(0.15)
    ? rareKey(random.chance(0.5) ? board.rareKeys++ : board.rareKeys - 1)
    : hotKey(round, random.between(0, 7));
  board.keys.add(key);
  if (random.chance(0.45)) return { kind: 'get', key };
  const expected = board.seen.get(key)?.value ?? 0;
  return { kind: 'cas', key, expected, value: board.newValue() };
}

async function callOnce(
  id: number,
  host: string,
  { ask, history, board }: ClientPorts,
  input: RegisterInput,
): Promise<boolean> {
  const call = history.now();
  const reply = await ask(host, askFor(input, board.seen.get(input.key)), PATIENCE_MS);
  const end = history.now();
  const outcome = outcomeOf(input, reply);
  const common = { client: id, host, input, call };
  switch (outcome.kind) {
    case 'done': {
      const { output, seen } = outcome;
      if (seen !== undefined) board.note(input.key, seen);
      if (input.kind === 'cas' && output === 0 && !tellsByLosing(input.key)) return true;
      const version = seen === undefined ? {} : { version: seen.version };
      history.add({ ...common, output, return: end, ...version });
      return true;
    }
    case 'unknown':
      if (input.kind === 'get') history.refuse(host, `read: ${outcome.why}`);
      else {
        const open = { output: undefined, return: Number.POSITIVE_INFINITY };
        history.add({ ...common, ...open, why: outcome.why });
      }
      return false;
    case 'refused':
      history.refuse(host, outcome.why);
      return false;
    case 'absurd':
      board.absurd.push(`${host}: ${JSON.stringify(input)}: ${outcome.why}`);
      return false;
  }
}

/** A list is a read of all registers of the round. */
async function listRound(
  id: number,
  host: string,
  { ask, history, board }: ClientPorts,
  round: number,
): Promise<boolean> {
  const call = history.now();
  const reply = await ask(host, askForAll('configs', round), PATIENCE_MS);
  if (reply.kind !== 'answer' || reply.status !== 200) {
    const why = reply.kind === 'answer' ? `${reply.status} ${reply.text.trim()}` : reply.why;
    history.refuse(host, `list: ${why}`);
    return false;
  }
  const end = history.now();
  const found = seenInList(reply.text);
  for (const key of configKeys(round)) {
    const seen = found.get(key);
    if (seen !== undefined) board.note(key, seen);
    history.add({
      client: id,
      host,
      input: { kind: 'get', key },
      output: seen?.value ?? 0,
      call,
      return: end,
      ...(seen && { version: seen.version }),
    });
  }
  return true;
}
