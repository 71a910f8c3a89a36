import { checkRoot } from '../../../shared/pki/io/trust.ts';
import { createRootCa, crossSign } from '../../../shared/pki/io/x509.ts';
import type { RootMaker } from '../../control/deps.ts';

/** Makes and checks roots in this process. */
export const localRoots: RootMaker = {
  create: (nowMs) => createRootCa('swarm-ca', nowMs),
  crossSign,
  check: checkRoot,
};
