import { BACKUP_FORMAT } from '../../shared/backup.ts';
import type { Clock } from '../../shared/clock.ts';
import { ShoalError } from '../../shared/errors.ts';
import type { BackupMessage } from '../../shared/gen/shoal/v1/control.ts';
import type { Consensus, StateMachine } from '../raft/consensus.ts';
import { TABLE_NAMES } from '../store/tables.ts';
import type { ReadView } from '../store/types.ts';

export type BackupDeps = Readonly<{
  store: ReadView & Pick<StateMachine, 'snapshot'>;
  consensus: Pick<Consensus, 'readBarrier'>;
  clock: Clock;
}>;

/**
 * The whole state as of one index, at or after all that was committed when the call came, with the
 * key that signs certificates: whoever has it is the cluster. Changes meanwhile are not seen.
 */
export async function* backup(
  { store, consensus, clock }: BackupDeps,
  signal: AbortSignal,
): AsyncGenerator<BackupMessage> {
  await consensus.readBarrier(signal);
  const cluster = store.cluster();
  if (cluster?.rootCa === undefined) {
    throw new ShoalError('unavailable', 'the cluster is not set up yet: try again');
  }
  const { certificatePem, keyPem } = cluster.rootCa;
  const header = {
    format: BACKUP_FORMAT,
    clusterId: cluster.id,
    index: store.index,
    objects: TABLE_NAMES.reduce((sum, table) => sum + store.count(table), 0),
    createdAtMs: clock.now(),
    rootCertificatePem: certificatePem,
    rootKeyPem: keyPem,
    dataPathPort: cluster.dataPathPort,
  };
  const chunks = store.snapshot(); // of now: nothing was awaited since the header
  yield { message: { $case: 'header', value: header } };
  for (const chunk of chunks) yield { message: { $case: 'chunk', value: Buffer.from(chunk) } };
}
