import { DiskFullError } from '../../ports.ts';
import { isDiskFull } from '../disk.ts';
import type { LogKeys } from '../log-keys.ts';

/** Calls of `idle` for which the key before still opens the log: what else it locks follows meanwhile. */
const FORMER_KEK_IDLES = 300;
/** Calls of `idle` between two attempts, after one for which there was no room. */
const RETRY_ROOM_IDLES = 10;

/** The key-encryption key changes while the log is written: at once, or when there is room for it. */
export class KekChange {
  readonly #keys: LogKeys;
  readonly #roll: () => void;
  #idles = 0;
  /** There was no room to write down that it is the key now. */
  #due: { kek: Uint8Array | undefined } | undefined;
  #dropFormerAt = 0;

  /** `roll` goes on in a new segment, sealed by the newest data key. */
  constructor(keys: LogKeys, roll: () => void) {
    this.#keys = keys;
    this.#roll = roll;
  }

  /** True when what was kept so far could have been opened without a key: all of it must be replaced. */
  set(kek: Uint8Array | undefined): boolean {
    const before = this.#keys.kek;
    this.#due = undefined;
    if (sameKey(before, kek)) return false;
    try {
      this.#keys.setKek(kek);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#due = { kek };
      return true;
    }
    this.#dropFormerAt = this.#idles + FORMER_KEK_IDLES;
    if (before !== undefined) return false;
    // The disk may still remember what once lay on it: the data keys that it could open must go.
    this.rotate();
    return true;
  }

  /** What is written from now on is sealed with a new data key; the old one goes with its last file. */
  rotate(): void {
    this.#keys.rotate();
    try {
      this.#roll();
    } catch (error) {
      // Then with the next segment that there is room for.
      if (!(error instanceof DiskFullError)) throw error;
    }
  }

  idle(): void {
    this.#idles++;
    if (this.#due !== undefined && this.#idles % RETRY_ROOM_IDLES === 0) this.set(this.#due.kek);
    if (this.#idles === this.#dropFormerAt) this.#dropFormer();
  }

  #dropFormer(): void {
    try {
      this.#keys.dropFormer();
    } catch (error) {
      // The next start does it, too.
      if (!isDiskFull(error)) throw error;
    }
  }
}

function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}
