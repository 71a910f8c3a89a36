import { rootDigest, signCsr } from '../../../shared/pki/io/x509.ts';
import type { CertificateSigner } from '../authority.ts';

/** Signs in this process with the cluster's key, as the store holds it. */
export const localSigner: CertificateSigner = { sign: signCsr, rootDigest };
