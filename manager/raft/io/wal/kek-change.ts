import { DiskFullError } from '../../ports.ts';
import { isDiskFull } from '../disk.ts';
import type { LogKeys } from '../log-keys.ts';

/** Calls of `idle` between two attempts, after one for which there was no room. */
const RETRY_ROOM_IDLES = 10;

/**
 * The key-encryption key changes while the log is written: at once, or when there is room for it. The key before
 * opens the log as well, until the new one is set again: what else it locks on this host has followed then.
 */
export class KekChange {
  readonly #keys: LogKeys;
  readonly #roll: () => void;
  #idles = 0;
  /** There was no room to write down that it is the key now. */
  #due: { kek: Uint8Array | undefined } | undefined;
  /** What a new data key still waits for: room to be written down, or for a segment to be used in. */
  #rotation: 'key' | 'segment' | undefined;
  #isFormerOver = false;

  /** `roll` goes on in a new segment, sealed by the newest data key. */
  constructor(keys: LogKeys, roll: () => void) {
    this.#keys = keys;
    this.#roll = roll;
  }

  /**
   * True when what was kept so far could have been opened without a key: all of it must be replaced. While there
   * is no room for the change it is false; `idle` tells then.
   */
  set(kek: Uint8Array | undefined): boolean {
    const before = this.#keys.kek;
    this.#due = undefined;
    if (sameKey(before, kek)) {
      this.#dropFormer();
      return false;
    }
    this.#isFormerOver = false;
    try {
      this.#keys.setKek(kek);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#due = { kek };
      return false;
    }
    // The disk may still remember what once lay on it: the data keys that it could open must go.
    return before === undefined && this.rotate();
  }

  /**
   * What is written from now on is sealed with a new data key; the old one goes with its last file. False when
   * that has to wait for room.
   */
  rotate(): boolean {
    this.#rotation = 'key';
    return this.#goOn();
  }

  /** As `set`, of what had to wait. */
  idle(): boolean {
    this.#idles++;
    if (this.#idles % RETRY_ROOM_IDLES !== 0) return false;
    if (this.#due !== undefined) return this.set(this.#due.kek);
    if (this.#rotation !== undefined) return this.#goOn();
    if (this.#isFormerOver) this.#dropFormer();
    return false;
  }

  #goOn(): boolean {
    try {
      if (this.#rotation === 'key') this.#keys.rotate();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      return false;
    }
    this.#rotation = 'segment';
    try {
      this.#roll();
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      return false;
    }
    this.#rotation = undefined;
    return true;
  }

  #dropFormer(): void {
    this.#isFormerOver = true;
    try {
      this.#keys.dropFormer();
    } catch (error) {
      // Tried again when idle; the next start does it, too.
      if (!isDiskFull(error)) throw error;
      return;
    }
    this.#isFormerOver = false;
  }
}

function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}
