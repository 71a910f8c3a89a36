import type { Random } from './random.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };
export type NodeId = Branded<'NodeId'>;

const ID_LENGTH = 25;
const ID_PATTERN = /^[0-9a-z]{25}$/;

/**
 * A new object id: 25 characters of [0-9a-z], as Swarm's, from 128 random bits. Ids are never
 * used again, so equal ids always mean the same object.
 */
export function newId(random: Random): string {
  let value = 0n;
  for (const byte of random.bytes(16)) value = (value << 8n) | BigInt(byte);
  return value.toString(36).padStart(ID_LENGTH, '0');
}

export function isId(raw: string): boolean {
  return ID_PATTERN.test(raw);
}

/** Checked once, where ids enter: an RPC, a flag, a file. Inside the program they are trusted. */
export function parseNodeId(raw: string): NodeId {
  if (!isId(raw)) throw new RangeError(`Cannot parse node id "${raw}": 25 of [0-9a-z] expected`);
  return raw as NodeId;
}
