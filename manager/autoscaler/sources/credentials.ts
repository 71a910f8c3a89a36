import { ShoalError } from '../../../shared/errors.ts';
import type { SourceAuth } from '../../../shared/gen/shoal/v1/autoscale.ts';

/** The content of a secret of the cluster as it is now; undefined: there is none of the name. */
export type SecretLookup = (name: string) => Uint8Array | undefined;

/** What a source is given; an empty text: nothing. */
export type Credentials = Readonly<{
  username: string;
  password: string;
  token: string;
  /** Root certificates, PEM. */
  ca: string;
  /** Of NATS: a credentials file, or a seed alone. */
  credentials: string;
  /** A certificate and its private key, PEM. */
  certificate: string;
}>;

/**
 * Reads the secrets that `auth` names. A line break at the end is not part of one: files that were written by an editor
 * end with it. Throws ShoalError `not-found` with the secret's name.
 */
export function credentialsOf(auth: SourceAuth | undefined, secret: SecretLookup): Credentials {
  const read = (name: string): string => {
    if (name === '') return '';
    const data = secret(name);
    if (data === undefined) {
      throw new ShoalError('not-found', `there is no secret ${name}: create it, or correct auth`);
    }
    return new TextDecoder().decode(data).replace(/\r?\n$/, '');
  };
  return {
    username: auth?.username ?? '',
    password: read(auth?.passwordSecret ?? ''),
    token: read(auth?.tokenSecret ?? ''),
    ca: read(auth?.caSecret ?? ''),
    credentials: read(auth?.credentialsSecret ?? ''),
    certificate: read(auth?.certificateSecret ?? ''),
  };
}

/** What must not be seen of them. */
export function hiddenOf({ password, token, credentials }: Credentials): string[] {
  const seeds = credentials.match(NKEY_SEED) ?? [];
  return [password, token, ...seeds].filter((text) => text !== '');
}

/** A private key of NATS, in base 32. */
const NKEY_SEED = /\bS[A-Z2-7]{57}\b/g;
