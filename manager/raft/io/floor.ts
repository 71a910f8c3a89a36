import { closeSync, fdatasyncSync, openSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { writeAll } from './snapshot-files.ts';

const SLOT_BYTES = 16;
/** So that zeros are no valid slot. */
const SEED = 1;

/** The number of the last batch known to be on disk, in two places in turn: one survives a torn write. */
export class Floor {
  readonly #fd: number;
  #dirty = false;
  constructor(path: string) {
    this.#fd = openSync(path, 'a+', 0o600);
    closeSync(this.#fd);
    this.#fd = openSync(path, 'r+');
  }
  read(): number {
    const bytes = new Uint8Array(2 * SLOT_BYTES);
    const length = readSync(this.#fd, bytes, 0, bytes.length, 0);
    let highest = 0;
    for (let at = 0; at + SLOT_BYTES <= length; at += SLOT_BYTES) {
      const view = new DataView(bytes.buffer, at, SLOT_BYTES);
      const number = Number(view.getBigUint64(0));
      if (view.getUint32(8) === crc32(bytes.subarray(at, at + 8), SEED)) {
        highest = Math.max(highest, number);
      }
    }
    return highest;
  }
  /** Not synced: what matters is that it is never ahead of the database. */
  write(number: number): void {
    const bytes = new Uint8Array(SLOT_BYTES);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(number));
    view.setUint32(8, crc32(bytes.subarray(0, 8), SEED));
    writeAll(this.#fd, bytes, (number % 2) * SLOT_BYTES);
    this.#dirty = true;
  }
  sync(): void {
    if (this.#dirty) fdatasyncSync(this.#fd);
    this.#dirty = false;
  }
  close(): void {
    this.sync();
    closeSync(this.#fd);
  }
}
