import type { Disk, DiskFile } from '../disk.ts';
import { isDiskFull } from '../disk.ts';

const CHUNK_BYTES = 256 << 10;

export type SpareFile = Readonly<{ name: string; file: DiskFile; size: number }>;

/**
 * Files of zeros to become segments: a sync of bytes written into space that is there already need not
 * wait for the file system's journal, and cannot fail for want of room. One is made ahead, beside this thread.
 */
export class Spares {
  readonly #disk: Disk;
  #made = 0;
  #ready: SpareFile | undefined;
  #making = false;
  #closed = false;
  #full = false;
  #failure: unknown;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** There was no room for the last one that was tried. */
  get full(): boolean {
    return this.#full;
  }

  /** Begins to make one, if there is none. */
  prepare(size: number): void {
    if (this.#ready !== undefined || this.#making || this.#closed) return;
    this.#making = true;
    void this.#make(size).then(() => {
      this.#making = false;
    });
  }

  /**
   * One of at least `least` bytes, of `size` when it must be made now and there is room. Undefined
   * when there is no room at all.
   */
  take(size: number, least: number): SpareFile | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const ready = this.#ready;
    if (ready !== undefined && ready.size >= least) {
      this.#ready = undefined;
      return ready;
    }
    const made = this.#makeNow(Math.max(size, least)) ?? this.#makeNow(least);
    this.#full = made === undefined;
    return made;
  }

  close(): void {
    if (this.#ready !== undefined) this.#discard(this.#ready);
    this.#ready = undefined;
    this.#closed = true;
  }

  #makeNow(size: number): SpareFile | undefined {
    const spare = this.#create(size);
    try {
      for (let at = 0; at < size; at += CHUNK_BYTES) spare.file.write(zeros(size, at), at);
      spare.file.sync();
      return spare;
    } catch (error) {
      this.#discard(spare);
      if (isDiskFull(error)) return undefined;
      throw error;
    }
  }

  async #make(size: number): Promise<void> {
    let spare: SpareFile | undefined;
    try {
      spare = this.#create(size);
      for (let at = 0; at < size && !this.#closed; at += CHUNK_BYTES) {
        await spare.file.writeSoon(zeros(size, at), at);
      }
      await spare.file.syncSoon();
      if (this.#closed) this.#discard(spare);
      else this.#ready = spare;
      this.#full = false;
    } catch (error) {
      if (isDiskFull(error)) this.#full = true;
      else this.#failure = error;
      if (spare !== undefined) this.#discard(spare);
    }
  }

  #create(size: number): SpareFile {
    const name = `spare-${++this.#made}.tmp`;
    return { name, file: this.#disk.create(name), size };
  }

  #discard({ name, file }: SpareFile): void {
    file.close();
    // After close() the log may have been opened again, and its own have these names: it removes what is left over.
    if (!this.#closed) this.#disk.remove(name);
  }
}

const ZEROS = new Uint8Array(CHUNK_BYTES);

function zeros(size: number, at: number): Uint8Array {
  return ZEROS.subarray(0, Math.min(CHUNK_BYTES, size - at));
}
