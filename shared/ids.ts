import type { Random } from './random.ts';

const ID_LENGTH = 25;
const ID_PATTERN = /^[0-9a-z]{25}$/;

/**
 * A new object id: 25 characters of [0-9a-z], as Swarm's, from 128 random bits. Ids are never
 * used again, so equal ids always mean the same object.
 */
export function newId(random: Random): string {
  const bytes = random.bytes(16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const value = (view.getBigUint64(0) << 64n) | view.getBigUint64(8);
  return value.toString(36).padStart(ID_LENGTH, '0');
}

export function isId(raw: string): boolean {
  return ID_PATTERN.test(raw);
}

/** 64 hex digits, as Docker names containers, processes in them, and volumes that nobody named. */
export function newHexId(random: Random): string {
  return Buffer.from(random.bytes(32)).toString('hex');
}
