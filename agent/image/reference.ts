import { ShoalError } from '../../shared/errors.ts';

/** A name of an image, in full: `docker.io/library/web:1@sha256:...`. */
export type Reference = Readonly<{
  domain: string;
  path: string;
  tag: string | undefined;
  digest: string | undefined;
}>;

const DEFAULT_DOMAIN = 'docker.io';
const OFFICIAL = 'library/';
const MAX_NAME_LENGTH = 255;
const DOMAIN =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const PATH_PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Reads a name as the docker CLI does: `web` is `docker.io/library/web`, and what comes before the first slash
 * is a host only if it looks like one. Throws `invalid-argument` with Docker's words.
 */
export function parseReference(raw: string): Reference {
  if (/^[0-9a-f]{64}$/.test(raw)) {
    throw invalid(`invalid repository name (${raw}), cannot specify 64-byte hexadecimal strings`);
  }
  const at = raw.indexOf('@');
  const digest = at < 0 ? undefined : raw.slice(at + 1);
  const rest = at < 0 ? raw : raw.slice(0, at);
  // A colon after the last slash begins a tag; before it, a port.
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const { domain, path } = splitDomain(colon < 0 ? rest : rest.slice(0, colon));
  if (path !== path.toLowerCase()) {
    throw invalid(`invalid reference format: repository name (${path}) must be lowercase`);
  }
  const wellFormed =
    DOMAIN.test(domain) &&
    path.split('/').every((part) => PATH_PART.test(part)) &&
    (tag === undefined || TAG.test(tag)) &&
    (digest === undefined || DIGEST.test(digest));
  if (!wellFormed) throw invalid('invalid reference format');
  if (domain.length + path.length + 1 > MAX_NAME_LENGTH) {
    throw invalid(`repository name must not be more than ${MAX_NAME_LENGTH} characters`);
  }
  return { domain, path, tag, digest };
}

/** The name containerd stores an image under. A digest makes a tag beside it meaningless. */
export function normalisedName(reference: Reference): string {
  const name = `${reference.domain}/${reference.path}`;
  if (reference.digest !== undefined) return `${name}@${reference.digest}`;
  return `${name}:${reference.tag ?? 'latest'}`;
}

/** As people write and read it: without the default host and `library/`. */
export function familiarRepository({ domain, path }: Reference): string {
  if (domain !== DEFAULT_DOMAIN) return `${domain}/${path}`;
  return path.startsWith(OFFICIAL) && !path.slice(OFFICIAL.length).includes('/')
    ? path.slice(OFFICIAL.length)
    : path;
}

/** `web:1`, or `web@sha256:...` where there is a digest. */
export function familiarName(reference: Reference): string {
  const repository = familiarRepository(reference);
  if (reference.digest !== undefined) return `${repository}@${reference.digest}`;
  return `${repository}:${reference.tag ?? 'latest'}`;
}

/** Tag and digest as given, for messages. */
export function familiarFull(reference: Reference): string {
  const { tag, digest } = reference;
  const tagged = tag === undefined && digest !== undefined ? '' : `:${tag ?? 'latest'}`;
  return `${familiarRepository(reference)}${tagged}${digest === undefined ? '' : `@${digest}`}`;
}

/** Such a registry need not prove who it is. `host` with or without a port. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || name === '[::1]' || /^127(\.\d+){3}$/.test(name);
}

function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  let domain = isHost ? first : DEFAULT_DOMAIN;
  let path = isHost ? name.slice(slash + 1) : name;
  if (domain === 'index.docker.io') domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !path.includes('/')) path = OFFICIAL + path;
  return { domain, path };
}

function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message);
}
