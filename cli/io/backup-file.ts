import {
  createCipheriv,
  createDecipheriv,
  createHash,
  type Hash,
  randomBytes,
  scryptSync,
} from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BackupMessage } from '../../shared/gen/shoal/v1/control.ts';
import {
  associatedData,
  BackupFileError,
  CHECKSUM_BYTES,
  damaged,
  decodeHeader,
  encodePreamble,
  type FileHeader,
  headerLength,
  type KeyDerivation,
  nonceOf,
  PREAMBLE_BYTES,
  SCRYPT,
  SEGMENT_HEAD_BYTES,
  TAG_BYTES,
} from '../backup-format.ts';

const CIPHER = 'aes-256-gcm';
const SALT_BYTES = 16;
const READ_BYTES = 1 << 20;

export type Progress = (objects: number, bytes: number) => void;

/**
 * Writes the messages of a backup to a file of mode 0600, beside and then renamed, so that under its
 * name there is a whole backup or none. Throws when the file exists already.
 */
export async function writeBackup(
  path: string,
  passphrase: string,
  messages: AsyncIterable<Uint8Array>,
  progress: Progress,
): Promise<FileHeader> {
  await refuseExisting(path);
  const partial = `${path}.partial`;
  await rm(partial, { force: true });
  const file = await open(partial, 'wx', 0o600);
  try {
    const header = await writeAll(file, passphrase, messages, progress);
    await file.sync();
    await file.close();
    await rename(partial, path);
    await syncFolder(dirname(path));
    return header;
  } catch (error) {
    await file.close();
    await rm(partial, { force: true });
    throw error;
  }
}

async function writeAll(
  file: FileHandle,
  passphrase: string,
  messages: AsyncIterable<Uint8Array>,
  progress: Progress,
): Promise<FileHeader> {
  const hash = createHash('sha256');
  let written = 0;
  const put = async (bytes: Uint8Array) => {
    hash.update(bytes);
    await file.writeFile(bytes);
    written += bytes.length;
  };
  let begun: { header: FileHeader; preamble: Uint8Array; key: Uint8Array } | undefined;
  let segments = 0;
  // One is held back: the last one must say that it is.
  let waiting: Uint8Array | undefined;
  const seal = async (message: Uint8Array, isLast: boolean) => {
    if (begun === undefined) return;
    const cipher = createCipheriv(CIPHER, begun.key, nonceOf(segments++));
    cipher.setAAD(associatedData(begun.preamble, isLast));
    const sealed = [cipher.update(message), cipher.final(), cipher.getAuthTag()];
    const head = Buffer.alloc(SEGMENT_HEAD_BYTES);
    head.writeUInt8(isLast ? 1 : 0, 0);
    head.writeUInt32BE(message.length + TAG_BYTES, 1);
    await put(Buffer.concat([head, ...sealed]));
    progress(begun.header.objects, written);
  };
  for await (const message of messages) {
    if (begun === undefined) {
      const kdf = { ...SCRYPT, salt: randomBytes(SALT_BYTES).toString('hex') };
      const header = headerFrom(message, kdf);
      const preamble = encodePreamble(header);
      await put(preamble);
      begun = { header, preamble, key: keyOf(passphrase, kdf) };
    }
    if (waiting !== undefined) await seal(waiting, false);
    waiting = message;
  }
  if (begun === undefined || waiting === undefined) throw new Error('the daemon sent no backup');
  await seal(waiting, true);
  await file.writeFile(hash.digest());
  return begun.header;
}

/**
 * Opens a backup: checks all of it against its checksum, and the passphrase against its first segment.
 * Throws BackupFileError, with what is wrong.
 */
export async function openBackup(path: string): Promise<BackupReader> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const start = await readAt(file, 0, Math.min(size, PREAMBLE_BYTES));
    const length = headerLength(start);
    const preamble = await readAt(file, 0, PREAMBLE_BYTES + length);
    const header = decodeHeader(preamble.subarray(PREAMBLE_BYTES));
    await checkSum(file, size);
    return new BackupReader(file, header, preamble, size - CHECKSUM_BYTES);
  } catch (error) {
    await file.close();
    throw error;
  }
}

export class BackupReader {
  readonly header: FileHeader;
  readonly #file: FileHandle;
  readonly #preamble: Uint8Array;
  readonly #end: number;

  constructor(file: FileHandle, header: FileHeader, preamble: Uint8Array, end: number) {
    this.#file = file;
    this.header = header;
    this.#preamble = preamble;
    this.#end = end;
  }

  async *messages(passphrase: string, progress: Progress): AsyncGenerator<Uint8Array> {
    const key = keyOf(passphrase, this.header.kdf);
    let at = this.#preamble.length;
    let isLast = false;
    for (let segment = 0; !isLast; segment++) {
      const head = await readAt(this.#file, at, SEGMENT_HEAD_BYTES);
      const length = head.readUInt32BE(1);
      isLast = head.readUInt8(0) === 1;
      at += SEGMENT_HEAD_BYTES;
      if (length < TAG_BYTES || at + length > this.#end) throw damaged('a part of it is missing');
      const sealed = await readAt(this.#file, at, length);
      at += length;
      const decipher = createDecipheriv(CIPHER, key, nonceOf(segment));
      decipher.setAAD(associatedData(this.#preamble, isLast));
      decipher.setAuthTag(sealed.subarray(length - TAG_BYTES));
      let message: Buffer;
      try {
        message = Buffer.concat([
          decipher.update(sealed.subarray(0, -TAG_BYTES)),
          decipher.final(),
        ]);
      } catch (error) {
        // The checksum is right, so the bytes are those that were written.
        if (segment === 0) throw new BackupFileError('the passphrase is wrong', { cause: error });
        throw damaged(`part ${segment} is not what was written`, error);
      }
      progress(this.header.objects, at);
      yield message;
    }
    if (at !== this.#end) throw damaged('something follows its end');
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function headerFrom(message: Uint8Array, kdf: KeyDerivation): FileHeader {
  const { message: first } = BackupMessage.decode(message);
  if (first?.$case !== 'header') throw new Error('the daemon sent a backup without a header');
  const { clusterId, index, objects, createdAtMs } = first.value;
  return { clusterId, createdAt: new Date(createdAtMs).toISOString(), index, objects, kdf };
}

function keyOf(passphrase: string, { N, r, p, salt }: KeyDerivation): Uint8Array {
  return scryptSync(passphrase.normalize('NFKC'), Buffer.from(salt, 'hex'), 32, {
    N,
    r,
    p,
    maxmem: 256 * N * r,
  });
}

async function checkSum(file: FileHandle, size: number): Promise<void> {
  const hash: Hash = createHash('sha256');
  const end = size - CHECKSUM_BYTES;
  for (let at = 0; at < end; at += READ_BYTES) {
    hash.update(await readAt(file, at, Math.min(READ_BYTES, end - at)));
  }
  if (end < 0 || !hash.digest().equals(await readAt(file, end, CHECKSUM_BYTES))) {
    throw damaged('its checksum is wrong');
  }
}

async function readAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, at + done);
    if (bytesRead === 0) throw damaged('it ends too early');
    done += bytesRead;
  }
  return buffer;
}

async function refuseExisting(path: string): Promise<void> {
  const there = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  await there?.close();
  if (there !== undefined) throw new BackupFileError(`${path} exists: name another file`);
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}
