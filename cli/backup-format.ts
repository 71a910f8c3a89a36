/**
 * A backup on disk: `SHOALBAK`, u16 version, u32 length of the header, the header as JSON, then
 * segments `u8 last | u32 length | ciphertext and tag`, and at the end the SHA-256 of all before it.
 * Each segment is one message of the backup (shared/backup.ts), sealed by AES-256-GCM under a key that
 * is made from the passphrase; its number is the nonce, header and `last` are authenticated with it:
 * no segment can be changed, moved or left out. The checksum tells damage from a wrong passphrase.
 */
export const MAGIC = 'SHOALBAK';
export const FILE_VERSION = 1;
export const PREAMBLE_BYTES = 14;
export const SEGMENT_HEAD_BYTES = 5;
export const TAG_BYTES = 16;
export const CHECKSUM_BYTES = 32;
const NONCE_BYTES = 12;
const LARGEST_HEADER_BYTES = 64 << 10;

/** How the key is made of the passphrase; 128 * N * r bytes of memory, some tenths of a second. */
export type KeyDerivation = Readonly<{
  name: 'scrypt';
  N: number;
  r: number;
  p: number;
  salt: string;
}>;
export const SCRYPT = { name: 'scrypt', N: 1 << 16, r: 8, p: 1 } as const;

export type FileHeader = Readonly<{
  clusterId: string;
  /** RFC 3339. */
  createdAt: string;
  index: number;
  objects: number;
  kdf: KeyDerivation;
}>;

/** What is wrong with a file, in words for whoever holds it. */
export class BackupFileError extends Error {}

export function encodePreamble(header: FileHeader): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(PREAMBLE_BYTES + json.length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  view.setUint16(8, FILE_VERSION);
  view.setUint32(10, json.length);
  bytes.set(json, PREAMBLE_BYTES);
  return bytes;
}

/** Length of the header, from the file's first bytes. */
export function headerLength(preamble: Uint8Array): number {
  const magic = new TextDecoder().decode(preamble.subarray(0, MAGIC.length));
  if (preamble.length < PREAMBLE_BYTES || magic !== MAGIC) {
    throw new BackupFileError('this is not a backup made by "shoal cluster backup"');
  }
  const view = new DataView(preamble.buffer, preamble.byteOffset, preamble.length);
  const version = view.getUint16(8);
  if (version !== FILE_VERSION) {
    throw new BackupFileError(
      `the backup has format version ${version}, this shoal reads ${FILE_VERSION}: use the version that made it`,
    );
  }
  const length = view.getUint32(10);
  if (length > LARGEST_HEADER_BYTES) throw damaged('its header is too long');
  return length;
}

export function decodeHeader(bytes: Uint8Array): FileHeader {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw damaged('its header cannot be read', error);
  }
  const header = value as FileHeader;
  const { kdf } = header;
  const isWhole =
    typeof header.clusterId === 'string' &&
    typeof header.createdAt === 'string' &&
    Number.isSafeInteger(header.index) &&
    Number.isSafeInteger(header.objects) &&
    kdf?.name === 'scrypt' &&
    typeof kdf.salt === 'string';
  if (!isWhole) throw damaged('its header is not complete');
  // A header is believed before it is authenticated: it must not make this program use all memory.
  if (kdf.N > 1 << 20 || kdf.r > 16 || kdf.p > 16) throw damaged('its key derivation is absurd');
  return header;
}

export function nonceOf(segment: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(NONCE_BYTES - 8, BigInt(segment));
  return nonce;
}

/** What is authenticated with a segment beside its content. */
export function associatedData(preamble: Uint8Array, isLast: boolean): Uint8Array {
  const bytes = new Uint8Array(preamble.length + 1);
  bytes.set(preamble);
  bytes[preamble.length] = isLast ? 1 : 0;
  return bytes;
}

export function damaged(why: string, cause?: unknown): BackupFileError {
  return new BackupFileError(`the backup is damaged: ${why}. Use another copy`, { cause });
}
