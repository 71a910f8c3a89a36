import { isRecoverySigned, keyDigest } from '../../../shared/pki/io/trust.ts';
import {
  isIssuedByAny,
  parseCertificate,
  rootDigest,
  signCsr,
} from '../../../shared/pki/io/x509.ts';
import type { CertificateSigner } from '../authority.ts';

/** Signs in this process with the cluster's key, as the store holds it. */
export const localSigner: CertificateSigner = {
  sign: signCsr,
  rootDigest,
  keyDigest,
  holderOf(certificatePem) {
    const { nodeId, role, clusterId } = parseCertificate(certificatePem);
    return role === undefined || nodeId === '' ? undefined : { nodeId, role, clusterId };
  },
  isIssuedByAny,
  isRecoverySigned,
};
