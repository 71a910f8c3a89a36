import { ShoalError } from './errors.ts';

/**
 * A backup as it goes between manager, daemon and CLI: messages (BackupMessage of control.proto), each
 * after its length in four bytes, the header first.
 */
export const BACKUP_FORMAT = 1;
export const BACKUP_CONTENT_TYPE = 'application/vnd.shoal.backup';
/** Chunks of a snapshot are below 1 MiB but for one large object; this is far above both. */
export const LARGEST_BACKUP_MESSAGE_BYTES = 16 << 20;

const LENGTH_BYTES = 4;

export function backupFrame(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES + message.length);
  new DataView(bytes.buffer).setUint32(0, message.length);
  bytes.set(message, LENGTH_BYTES);
  return bytes;
}

/** Cuts a stream of frames. Throws ShoalError `invalid-argument` for one that is none, or ends within one. */
export async function* backupFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let waiting = 0;
  let wanted: number | undefined;
  const take = (length: number): Uint8Array => {
    const all = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    parts = [all.subarray(length)];
    waiting -= length;
    return all.subarray(0, length);
  };
  for await (const chunk of chunks) {
    parts.push(chunk);
    waiting += chunk.length;
    for (;;) {
      if (wanted === undefined) {
        if (waiting < LENGTH_BYTES) break;
        const head = take(LENGTH_BYTES);
        wanted = new DataView(head.buffer, head.byteOffset).getUint32(0);
        if (wanted > LARGEST_BACKUP_MESSAGE_BYTES) throw notABackup(`a part of ${wanted} bytes`);
      }
      if (waiting < wanted) break;
      yield take(wanted);
      wanted = undefined;
    }
  }
  if (wanted !== undefined || waiting > 0) throw notABackup('it ends too early');
}

function notABackup(why: string): ShoalError {
  return new ShoalError('invalid-argument', `this is not a whole backup: ${why}`);
}
