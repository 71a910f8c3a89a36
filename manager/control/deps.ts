import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import type { SigningRoot } from '../ca/trust.ts';
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
  roots: RootMaker;
}>;

/** What a rotation of the root needs done with keys (`shared/pki/io`). */
export interface RootMaker {
  create(nowMs: number): SigningRoot;
  /** The key of `nextPem` in a certificate by `root`. */
  crossSign(nextPem: string, root: SigningRoot, nowMs: number): string;
  /** Throws ShoalError `invalid-argument` for what cannot be a root. */
  check(certificatePem: string, keyPem: string, nowMs: number): void;
}
