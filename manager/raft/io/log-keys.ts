import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { ShoalError } from '../../../shared/errors.ts';
import { type Disk, isDiskFull, readWhole, replaceWhole } from './disk.ts';
import { KEY_BYTES, TAG_BYTES } from './wal/cipher.ts';
import { KEY_ID_BYTES, LOG_ID_BYTES } from './wal/segment.ts';

/**
 * The keys that a log's files are sealed with. Data keys are random, of this log alone, and lie in
 * `keys`, each wrapped by the key-encryption key. That one lies beside, in `kek`, readable by its
 * owner only; or, when managers lock themselves, nowhere on this disk: whoever starts the log has it.
 */
const KEYS_FILE = 'keys';
const KEK_FILE = 'kek';
const FORMAT = 1;
const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;

type Stored = Readonly<{
  format: number;
  logId: string;
  /** The last is the one to write with. */
  keys: readonly Readonly<{
    id: string;
    wrapped: string;
    /** By the key before, for a while: what else it opens on this host follows a moment later. */
    formerly?: string;
  }>[];
}>;
type DataKey = Readonly<{ id: string; key: Uint8Array }>;

export class LogKeys {
  readonly logId: Uint8Array;
  readonly #disk: Disk;
  #keys: DataKey[];
  /** Undefined while it lies on the disk. */
  #kek: Uint8Array | undefined;
  #former: Uint8Array | undefined;

  /** Opens the keys there are, or makes the first. `kek` undefined: the one on this disk. */
  constructor(disk: Disk, kek: Uint8Array | undefined) {
    this.#disk = disk;
    this.#kek = kek;
    const stored = readStored(disk);
    if (stored === undefined) {
      this.logId = randomBytes(LOG_ID_BYTES);
      this.#keys = [newKey()];
      this.#save(kek ?? this.#kekOnDisk());
      return;
    }
    this.logId = Buffer.from(stored.logId, 'hex');
    const onDisk = readKek(disk);
    const given = kek === undefined ? undefined : unwrapAll(stored, kek);
    const keys = given ?? (onDisk === undefined ? undefined : unwrapAll(stored, onDisk));
    if (keys === undefined) throw locked(disk);
    if (given === undefined) this.#kek = undefined;
    this.#keys = keys;
    // Opened by the new key: nothing needs the one before any more.
    const isDouble = stored.keys.some(({ formerly }) => formerly !== undefined);
    if (isDouble && kek !== undefined && unwrapAll(stored, kek, 'wrapped') !== undefined) {
      this.#saveWithRoom(kek);
    }
  }

  /** Whether the keys in a folder, which may be in use, open for who has `kek`, or (undefined) for everybody. */
  static open(disk: Disk, kek: Uint8Array | undefined): boolean {
    const stored = readStored(disk);
    if (stored === undefined) return false;
    const known = [kek, readKek(disk)].filter((key) => key !== undefined);
    return known.some((key) => unwrapAll(stored, key) !== undefined);
  }

  get current(): DataKey {
    const key = this.#keys.at(-1);
    if (key === undefined) throw new ShoalError('internal', 'a log without a data key');
    return key;
  }

  /** Undefined while it lies on this disk. */
  get kek(): Uint8Array | undefined {
    return this.#kek;
  }

  /** Undefined for one that is not of this log, or gone. */
  get(id: string): Uint8Array | undefined {
    return this.#keys.find((one) => one.id === id)?.key;
  }

  get ids(): readonly string[] {
    return this.#keys.map(({ id }) => id);
  }

  /** What is written from now on is sealed with a new key; not when this throws: it is not on disk then. */
  rotate(): void {
    const keys = [...this.#keys, newKey()];
    this.#save(this.#kek ?? this.#kekOnDisk(), keys);
    this.#keys = keys;
  }

  /** No file is sealed with others than these any more. Without room for it, all stay. */
  keepOnly(used: ReadonlySet<string>): void {
    const kept = this.#keys.filter((one) => one === this.current || used.has(one.id));
    if (kept.length === this.#keys.length) return;
    if (this.#saveWithRoom(this.#kek ?? this.#kekOnDisk(), kept)) this.#keys = kept;
  }

  /**
   * Wraps the keys by another key-encryption key; undefined: by one that lies on this disk. After a
   * crash in between the one or the other opens the log.
   */
  setKek(kek: Uint8Array | undefined): void {
    if (kek === undefined) {
      const fresh = randomBytes(KEY_BYTES);
      replaceWhole(this.#disk, KEK_FILE, Buffer.from(fresh.toString('base64')));
      this.#former = undefined;
      this.#save(fresh);
    } else {
      this.#former = this.#kek;
      this.#save(kek);
      this.#disk.remove(KEK_FILE);
      this.#disk.syncFolder();
    }
    this.#kek = kek;
  }

  /** The key before opens nothing any more; when this throws, it does still. */
  dropFormer(): void {
    const former = this.#former;
    if (former === undefined || this.#kek === undefined) return;
    this.#former = undefined;
    try {
      this.#save(this.#kek);
    } catch (error) {
      this.#former = former;
      throw error;
    }
  }

  #kekOnDisk(): Uint8Array {
    const there = readKek(this.#disk);
    if (there !== undefined) return there;
    const fresh = randomBytes(KEY_BYTES);
    replaceWhole(this.#disk, KEK_FILE, Buffer.from(fresh.toString('base64')));
    return fresh;
  }

  /** Of what can wait: false when there is no room for it. */
  #saveWithRoom(kek: Uint8Array, keys = this.#keys): boolean {
    try {
      this.#save(kek, keys);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      return false;
    }
    return true;
  }

  #save(kek: Uint8Array, keys = this.#keys): void {
    const logId = Buffer.from(this.logId).toString('hex');
    const stored: Stored = {
      format: FORMAT,
      logId,
      keys: keys.map(({ id, key }) => ({
        id,
        wrapped: wrap(kek, key, logId + id),
        ...(this.#former && { formerly: wrap(this.#former, key, logId + id) }),
      })),
    };
    replaceWhole(this.#disk, KEYS_FILE, Buffer.from(`${JSON.stringify(stored)}\n`));
  }
}

function newKey(): DataKey {
  return { id: randomBytes(KEY_ID_BYTES).toString('hex'), key: randomBytes(KEY_BYTES) };
}

function readKek(disk: Disk): Uint8Array | undefined {
  const text = readWhole(disk, KEK_FILE);
  if (text === undefined) return undefined;
  const kek = Buffer.from(Buffer.from(text).toString('latin1'), 'base64');
  return kek.length === KEY_BYTES ? kek : undefined;
}

function readStored(disk: Disk): Stored | undefined {
  const bytes = readWhole(disk, KEYS_FILE);
  if (bytes === undefined) return undefined;
  let stored: Stored;
  try {
    stored = JSON.parse(new TextDecoder().decode(bytes)) as Stored;
  } catch (error) {
    throw unusable(disk, 'is damaged', error);
  }
  if (stored.format !== FORMAT) throw unusable(disk, `has an unknown format ${stored.format}`);
  return stored;
}

function unwrapAll(
  stored: Stored,
  kek: Uint8Array,
  how: 'wrapped' | 'formerly' | 'either' = 'either',
): DataKey[] | undefined {
  if (how === 'either') {
    return unwrapAll(stored, kek, 'wrapped') ?? unwrapAll(stored, kek, 'formerly');
  }
  const all: DataKey[] = [];
  for (const { id, [how]: wrapped } of stored.keys) {
    const key = wrapped && unwrap(kek, wrapped, stored.logId + id);
    if (!key) return undefined;
    all.push({ id, key });
  }
  return all;
}

/** Nonce, ciphertext and tag; a key-encryption key wraps a handful of keys in its life. */
function wrap(kek: Uint8Array, key: Uint8Array, bound: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, kek, nonce).setAAD(Buffer.from(bound));
  const sealed = [nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(sealed).toString('base64');
}

function unwrap(kek: Uint8Array, wrapped: string, bound: string): Uint8Array | undefined {
  const bytes = Buffer.from(wrapped, 'base64');
  if (bytes.length !== NONCE_BYTES + KEY_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv(ALGORITHM, kek, bytes.subarray(0, NONCE_BYTES));
  decipher.setAAD(Buffer.from(bound));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    const key = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
    return Buffer.concat([key, decipher.final()]);
  } catch {
    return undefined;
  }
}

function locked(disk: Disk): ShoalError {
  return new ShoalError(
    'failed-precondition',
    `the Raft log in ${disk.path} is locked: the key given does not open it`,
  );
}

function unusable(disk: Disk, what: string, cause?: unknown): ShoalError {
  return new ShoalError(
    'failed-precondition',
    `the file "${KEYS_FILE}" in ${disk.path} ${what}: without it the log cannot be read. Remove ` +
      'this node from the managers, put the folder aside, and let it join again as a new member',
    cause === undefined ? undefined : { cause },
  );
}
