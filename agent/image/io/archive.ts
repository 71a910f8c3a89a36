import { randomUUID } from 'node:crypto';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract } from 'tar-stream';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import type { Blob, ContentStore } from './content.ts';

const MAX_FILES = 4096;
const MAX_LINKS = 8;

/** A file of an archive, now a blob of the store. */
export type ArchivedFile = Blob & Readonly<{ compression: 'none' | 'gzip' | 'zstd' }>;

/**
 * Reads a tar (plain, gzip, zstd) in one pass: each regular file goes into the store under `lease`, whatever
 * it is, since what it is for is only known once the manifest was read, and that may come last. What is not
 * needed goes with the lease. Never holds more than a chunk in memory.
 */
export async function storeArchive(
  tar: AsyncIterable<Uint8Array>,
  content: ContentStore,
  lease: string,
  signal: AbortSignal,
): Promise<ArchivedFiles> {
  const files = new Map<string, ArchivedFile>();
  const links = new Map<string, string>();
  const run = randomUUID();
  const entries = extract();
  const failed = pipeline(decompressed(tar), entries, { signal }).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    for await (const entry of entries) {
      const { type, linkname } = entry.header;
      const name = clean(entry.header.name);
      if (files.size + links.size > MAX_FILES) {
        throw new ShoalError('invalid-argument', `the archive has more than ${MAX_FILES} files`);
      }
      if (type === 'symlink' && linkname) {
        links.set(name, clean(posix.join(posix.dirname(name), linkname)));
      } else if (type === 'link' && linkname) links.set(name, clean(linkname));
      else if (type === 'file' || type === 'contiguous-file') {
        files.set(
          name,
          await storeFile(entry as AsyncIterable<Uint8Array>, content, {
            lease,
            ref: `${run}-${files.size}`,
          }),
        );
        continue;
      }
      entry.resume();
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof ShoalError) throw error;
    throw unreadable((await failed) ?? error);
  }
  const error = await failed;
  if (error !== undefined) throw signal.aborted ? signal.reason : unreadable(error);
  return new ArchivedFiles(files, links);
}

/** Files of an archive by path, links followed. */
export class ArchivedFiles {
  readonly #files: ReadonlyMap<string, ArchivedFile>;
  readonly #links: ReadonlyMap<string, string>;

  constructor(files: ReadonlyMap<string, ArchivedFile>, links: ReadonlyMap<string, string>) {
    this.#files = files;
    this.#links = links;
  }

  get(path: string): ArchivedFile | undefined {
    let name = clean(path);
    for (let hops = 0; hops < MAX_LINKS; hops += 1) {
      const file = this.#files.get(name);
      if (file !== undefined) return file;
      name = this.#links.get(name) ?? name;
    }
    return undefined;
  }

  /** Throws `invalid-argument` when it is not there. */
  need(path: string): ArchivedFile {
    const file = this.get(path);
    if (file === undefined) {
      throw new ShoalError(
        'invalid-argument',
        `the archive's manifest names ${path}, which it lacks`,
      );
    }
    return file;
  }

  has(digest: string): boolean {
    return this.#files.values().some((file) => file.digest === digest);
  }
}

/** A stream that may be compressed, uncompressed; told by its first bytes. Throws `invalid-argument` for broken ones. */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    const iterator = source[Symbol.asyncIterator]();
    let head = new Uint8Array();
    for (let done = false; head.length < 4 && !done; ) {
      const next = await iterator.next();
      done = next.done === true;
      if (!next.done) head = Buffer.concat([head, next.value]);
    }
    const kind = compressionOf(head);
    if (kind === 'none') {
      yield* rest(head, iterator);
      return;
    }
    const plain = kind === 'gzip' ? createGunzip() : createZstdDecompress();
    // Its failure comes out of `plain` below.
    pipeline(Readable.from(rest(head, iterator)), plain).catch(() => undefined);
    for await (const chunk of plain as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    throw unreadable(error);
  }
}

async function* rest(
  head: Uint8Array,
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  yield head;
  for (;;) {
    const next = await iterator.next();
    if (next.done) return;
    yield next.value;
  }
}

function compressionOf(head: Uint8Array): ArchivedFile['compression'] {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return 'zstd';
  return 'none';
}

async function storeFile(
  entry: AsyncIterable<Uint8Array>,
  content: ContentStore,
  { lease, ref }: { lease: string; ref: string },
): Promise<ArchivedFile> {
  let compression: ArchivedFile['compression'] = 'none';
  let first = true;
  const data = (async function* () {
    for await (const chunk of entry) {
      if (first) compression = compressionOf(chunk);
      first = false;
      yield chunk;
    }
  })();
  const blob = await content.write({ ref, lease }, async () => ({ from: 0, data }));
  return { ...blob, compression };
}

function clean(path: string): string {
  return posix.normalize(path).replace(/^(\.?\/)+/, '');
}

function unreadable(error: unknown): Error {
  if (error instanceof ShoalError || (error as Error)?.name === 'AbortError') return error as Error;
  return new ShoalError('invalid-argument', `cannot read the archive: ${messageOf(error)}`, {
    cause: error,
  });
}
