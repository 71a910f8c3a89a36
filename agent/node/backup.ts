import { BACKUP_FORMAT } from '../../shared/backup.ts';
import { ShoalError } from '../../shared/errors.ts';
import { type BackupHeader, BackupMessage } from '../../shared/gen/shoal/v1/control.ts';

/** A backup is held in memory while its manager starts: a cluster's state is some ten MiB. */
const LARGEST_BACKUP_BYTES = 1 << 30;

export type Backup = Readonly<{ header: BackupHeader; chunks: readonly Uint8Array[] }>;

/**
 * Reads the messages of a backup. Throws ShoalError `invalid-argument` for what is none, and
 * `unimplemented` for one of a later version.
 */
export async function readBackup(messages: AsyncIterable<Uint8Array>): Promise<Backup> {
  let header: BackupHeader | undefined;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const encoded of messages) {
    const { message } = decode(encoded);
    if (header === undefined) {
      if (message?.$case !== 'header') throw invalid('it does not begin with a header');
      header = checkedHeader(message.value);
      continue;
    }
    if (message?.$case !== 'chunk') throw invalid('a part of it is not known');
    bytes += message.value.length;
    if (bytes > LARGEST_BACKUP_BYTES) throw invalid('it is too large');
    chunks.push(message.value);
  }
  if (header === undefined || chunks.length === 0) throw invalid('it is empty');
  return { header, chunks };
}

function decode(encoded: Uint8Array): BackupMessage {
  try {
    return BackupMessage.decode(encoded);
  } catch (error) {
    throw invalid('a part of it cannot be read', error);
  }
}

function checkedHeader(header: BackupHeader): BackupHeader {
  const { format, clusterId, index, rootCertificatePem, rootKeyPem } = header;
  if (format !== BACKUP_FORMAT) {
    throw new ShoalError(
      'unimplemented',
      `this backup has format ${format}, this version of Shoal reads ${BACKUP_FORMAT}: restore it with the version that made it`,
    );
  }
  if (clusterId === '' || index < 1 || rootCertificatePem === '' || rootKeyPem === '') {
    throw invalid('its header is not complete');
  }
  return header;
}

function invalid(why: string, cause?: unknown): ShoalError {
  return new ShoalError('invalid-argument', `this is not a backup of a cluster: ${why}`, { cause });
}
