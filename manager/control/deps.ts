import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import type { Consensus } from '../raft/consensus.ts';
import type { WatchableStore, Writer } from '../store/types.ts';

export type ControlDeps = Readonly<{
  store: WatchableStore;
  writer: Writer;
  consensus: Pick<Consensus, 'readBarrier' | 'status'>;
  clock: Clock;
  random: Random;
  log: Log;
  /** The digest part of join tokens, of a root certificate in PEM (`shared/pki/io/x509.ts`). */
  rootDigest(certificatePem: string): string;
}>;
