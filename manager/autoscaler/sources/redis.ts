import { ShoalError } from '../../../shared/errors.ts';

/** Where an answer says that a key or a master is; an empty host: where it was asked for. */
export type Elsewhere = Readonly<{ host: string; port: number }>;

/** What a node of a Redis Cluster says of a key that another one has; undefined: the message says something else. */
export function movedTo(message: string): Elsewhere | undefined {
  const [, host, port] = /^MOVED \d+ (\S*):(\d+)$/.exec(message) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}

/** The master that a Sentinel knows by the name. Throws ShoalError `failed-precondition` when it knows none. */
export async function masterOf(call: RedisCall, name: string): Promise<Elsewhere> {
  const answer = await call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name);
  if (answer === null) throw refused(`this Sentinel knows no master ${name}`);
  if (!Array.isArray(answer)) throw unexpected('SENTINEL GET-MASTER-ADDR-BY-NAME');
  const [host, port] = answer.map(String);
  if (host === undefined || port === undefined) {
    throw unexpected('SENTINEL GET-MASTER-ADDR-BY-NAME');
  }
  return { host, port: Number(port) };
}

/** A command and its arguments; answers as RESP 2 has them: texts, numbers, null and arrays of them. */
export type RedisCall = (command: string, ...args: (string | number)[]) => Promise<unknown>;

/** What counts the elements of a key, by its type. */
const COUNTERS: Readonly<Record<string, string>> = {
  list: 'LLEN',
  zset: 'ZCARD',
  set: 'SCARD',
  hash: 'HLEN',
};

/** Entries that are counted one by one at most: they come with their content. */
export const COUNT_AT_MOST = 500;

/**
 * How many elements a list, sorted set, set or hash has. A key that does not exist is empty: Redis removes one with its
 * last element. Throws ShoalError `failed-precondition` for other types.
 */
export async function elementsOf(call: RedisCall, key: string): Promise<number> {
  const type = await typeOf(call, key);
  if (type === 'none') return 0;
  const counter = COUNTERS[type];
  if (counter === undefined) {
    throw refused(`key ${key} is a ${type}: only a list, zset, set or hash has a length here`);
  }
  return count(await call(counter, key), counter);
}

/**
 * What a group has still to do of a stream: entries that none of its consumers got yet (its lag) and those that were
 * delivered and not acknowledged. Without a group, or while the group does not exist, all entries; without a stream
 * none. Throws ShoalError `failed-precondition` when the key is no stream.
 *
 * Redis counts the lag itself from version 7.0 on, and not always (after XDEL): else the entries behind the last one
 * delivered are counted, up to `COUNT_AT_MOST`.
 */
export async function backlogOf(call: RedisCall, stream: string, group: string): Promise<number> {
  const type = await typeOf(call, stream);
  if (type === 'none') return 0;
  if (type !== 'stream') throw refused(`key ${stream} is a ${type}, and no stream`);
  if (group === '') return count(await call('XLEN', stream), 'XLEN');
  const found = groupOf(await call('XINFO', 'GROUPS', stream), group);
  if (found === undefined) return count(await call('XLEN', stream), 'XLEN');
  return found.pending + (found.lag ?? (await countBehind(call, stream, found.lastDelivered)));
}

type Group = Readonly<{ pending: number; lag: number | undefined; lastDelivered: string }>;

/** Of the answer of XINFO GROUPS: an array of groups, each an array of names and values in turn. */
function groupOf(answer: unknown, group: string): Group | undefined {
  if (!Array.isArray(answer)) throw unexpected('XINFO GROUPS');
  for (const one of answer) {
    const fields = fieldsOf(one, 'XINFO GROUPS');
    if (fields.get('name') !== group) continue;
    const lag = fields.get('lag');
    return {
      pending: count(fields.get('pending'), 'XINFO GROUPS'),
      // A lag that is not known is null; versions before 7.0 have none.
      lag: lag === undefined || lag === null ? undefined : count(lag, 'XINFO GROUPS'),
      lastDelivered: String(fields.get('last-delivered-id')),
    };
  }
  return undefined;
}

async function countBehind(call: RedisCall, stream: string, id: string): Promise<number> {
  const behind = await call('XRANGE', stream, following(id), '+', 'COUNT', COUNT_AT_MOST);
  if (!Array.isArray(behind)) throw unexpected('XRANGE');
  return behind.length;
}

const LAST_SEQUENCE = 2n ** 64n - 1n;

/** The id after this one: `5-1` is followed by `5-2`. Exclusive ranges are of version 6.2. */
function following(id: string): string {
  const [, milliseconds, sequence] = /^(\d+)-(\d+)$/.exec(id) ?? [];
  if (milliseconds === undefined || sequence === undefined) throw unexpected('XINFO GROUPS');
  if (BigInt(sequence) === LAST_SEQUENCE) return `${BigInt(milliseconds) + 1n}-0`;
  return `${milliseconds}-${BigInt(sequence) + 1n}`;
}

async function typeOf(call: RedisCall, key: string): Promise<string> {
  return String(await call('TYPE', key));
}

function fieldsOf(flat: unknown, command: string): Map<unknown, unknown> {
  if (!Array.isArray(flat)) throw unexpected(command);
  const fields = new Map<unknown, unknown>();
  for (let at = 0; at + 1 < flat.length; at += 2) fields.set(flat[at], flat[at + 1]);
  return fields;
}

function count(value: unknown, command: string): number {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw unexpected(command);
  return number;
}

function unexpected(command: string): ShoalError {
  return refused(`the answer to ${command} is not one of Redis`);
}

function refused(message: string): ShoalError {
  return new ShoalError('failed-precondition', message);
}
