import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
export const KEY_BYTES = 32;
export const SALT_BYTES = 16;
export const TAG_BYTES = 16;

/**
 * AES-256-GCM for one file. The key is the data key's child by the file's own random salt (HKDF,
 * SHA-256), so a number must be unique within its file only; whoever seals sees to that.
 */
export class FileCipher {
  /** As an object: of bare bytes Node finds out by two errors, thrown and caught, that they are none. */
  readonly #key: KeyObject;
  constructor(dataKey: Uint8Array, salt: Uint8Array, purpose: string) {
    const key = hkdfSync('sha256', dataKey, salt, purpose, KEY_BYTES);
    this.#key = createSecretKey(new Uint8Array(key));
  }

  /** Writes ciphertext and tag, `plain.length + TAG_BYTES` bytes, into `out` from `at` on. */
  seal(number: number, bound: Uint8Array, plain: Uint8Array, out: Uint8Array, at: number): void {
    const cipher = createCipheriv(ALGORITHM, this.#key, nonceOf(number));
    cipher.setAAD(bound);
    out.set(cipher.update(plain), at);
    cipher.final();
    out.set(cipher.getAuthTag(), at + plain.length);
  }

  /** Memory of its own. Undefined when it was not sealed with this key, number and `bound`. */
  open(number: number, bound: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) return undefined;
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonceOf(number));
    decipher.setAAD(bound);
    decipher.setAuthTag(sealed.subarray(end));
    const plain = decipher.update(sealed.subarray(0, end));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
  }
}

function nonceOf(number: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(NONCE_BYTES - 8, BigInt(number));
  return nonce;
}
