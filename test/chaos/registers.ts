import type { RegisterInput } from '../sim/linearizability/register.ts';
import type { Reply } from './cluster.ts';

/**
 * Registers kept in objects of the cluster: a label holds the value, the object's version is what a swap
 * compares, and an object that does not exist holds 0. So to create is to swap from 0.
 */
export type Seen = Readonly<{ value: number; version: number; id: string }>;
export type Ask = Readonly<{ method: string; path: string; body?: unknown }>;
/** Of `done` the output as the checker knows it. */
export type Outcome =
  | Readonly<{ kind: 'done'; output: number; seen?: Seen }>
  | Readonly<{ kind: 'refused' | 'unknown' | 'absurd'; why: string }>;

/** Some registers of each round are services, all others are configs. */
const KEYS_OF_ROUND = 8;
const CONFIGS_OF_ROUND = 6;
const FIRST_RARE_KEY = 1_000_000;

/** A key that many calls meet at; each round has new ones, so that no history grows too long to check. */
export const hotKey = (round: number, pick: number): number =>
  round * KEYS_OF_ROUND + (pick % KEYS_OF_ROUND);
/** A key for a few calls only: mostly creates. */
export const rareKey = (count: number): number => FIRST_RARE_KEY + count;
export const configKeys = (round: number): number[] =>
  Array.from({ length: CONFIGS_OF_ROUND }, (_, i) => hotKey(round, i));

const isService = (key: number) => key < FIRST_RARE_KEY && key % KEYS_OF_ROUND >= CONFIGS_OF_ROUND;
const roundOf = (key: number) =>
  key >= FIRST_RARE_KEY ? 'rare' : `r${Math.floor(key / KEYS_OF_ROUND)}`;
const folderOf = (key: number) => (isService(key) ? 'services' : 'configs');
const nameOf = (key: number) => `chaos-${key}`;

export function askFor(input: RegisterInput, seen: Seen | undefined): Ask {
  const folder = folderOf(input.key);
  if (input.kind === 'get') return { method: 'GET', path: `/${folder}/${nameOf(input.key)}` };
  const body = specOf(input.key, input.value);
  if (seen === undefined) return { method: 'POST', path: `/${folder}/create`, body };
  return { method: 'POST', path: `/${folder}/${seen.id}/update?version=${seen.version}`, body };
}

/** All registers of a round that are configs; without a round all registers there are. */
export function askForAll(folder: 'configs' | 'services', round?: number): Ask {
  const label = round === undefined ? 'chaos' : `chaos=r${round}`;
  const filters = encodeURIComponent(JSON.stringify({ label: [label] }));
  return { method: 'GET', path: `/${folder}?filters=${filters}` };
}

function specOf(key: number, value: number) {
  const common = {
    Name: nameOf(key),
    Labels: { chaos: roundOf(key), key: String(key), value: String(value) },
  };
  if (!isService(key)) return { ...common, Data: 'eA==' }; // one byte: none is refused
  return {
    ...common,
    TaskTemplate: { ContainerSpec: { Image: 'none:1' } },
    Mode: { Replicated: { Replicas: 0 } },
  };
}

/** What a reply means. `refused`: the server says, or it is plain, that nothing was done. */
export function outcomeOf(input: RegisterInput, reply: Reply): Outcome {
  if (reply.kind === 'unsent') return { kind: 'refused', why: reply.why };
  if (reply.kind === 'lost') return { kind: 'unknown', why: reply.why };
  const { status, text } = reply;
  const isRead = input.kind === 'get';
  if (isRead && status === 404) return { kind: 'done', output: 0 };
  if (isRead && status === 200) {
    const seen = seenIn(JSON.parse(text));
    return { kind: 'done', output: seen.value, seen };
  }
  if (!isRead && (status === 200 || status === 201)) return { kind: 'done', output: 1 };
  if (input.kind === 'cas' && isLost(input, status, text)) return { kind: 'done', output: 0 };
  const why = `${status} ${text.trim()}`;
  if (status === 503 || text.includes('code = ResourceExhausted')) return { kind: 'refused', why };
  if (status === 500) return { kind: 'unknown', why };
  return { kind: 'absurd', why };
}

function isLost(input: Extract<RegisterInput, { kind: 'cas' }>, status: number, text: string) {
  return input.expected === 0 ? status === 409 : text.includes('update out of sequence');
}

type ObjectView = Readonly<{
  ID: string;
  Version: Readonly<{ Index: number }>;
  Spec: Readonly<{ Labels: Readonly<Record<string, string>> }>;
}>;

function seenIn(object: unknown): Seen {
  const { ID, Version, Spec } = object as ObjectView;
  return { id: ID, version: Version.Index, value: Number(Spec.Labels.value) };
}

/** By key. */
export function seenInList(text: string): Map<number, Seen> {
  const objects = JSON.parse(text) as ObjectView[];
  return new Map(objects.map((object) => [Number(object.Spec.Labels.key), seenIn(object)]));
}

/** Whether a lost swap tells the value: the orchestrator may raise a service's version by itself. */
export const tellsByLosing = (key: number): boolean => !isService(key);
