import { isShoalError, messageOf, ShoalError } from '../../../shared/errors.ts';
import { parseChallenge, tokenUrl } from '../auth.ts';
import {
  type Descriptor,
  DOCKER_INDEX,
  DOCKER_MANIFEST,
  MAX_DOCUMENT_BYTES,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../manifest.ts';
import { familiarFull, familiarRepository, isLoopback, type Reference } from '../reference.ts';
import type { RegistryAuth } from '../types.ts';
import { sha256 } from './digest.ts';
import { fetchHttp, type HttpResponse, readBody } from './http.ts';

export type RegistryOptions = Readonly<{
  /** Hosts (with port) that may be asked without TLS or with a certificate nobody vouches for. Loopback always may. */
  insecure?: readonly string[];
  /** Host of an image's name to the base URLs to ask before it, `https://mirror.example`. */
  mirrors?: Readonly<Record<string, readonly string[]>>;
}>;

const ACCEPT = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, '*/*;q=0.1'].join(', ');
const HUB = 'docker.io';
const HUB_HOST = 'registry-1.docker.io';
const MAX_TOKEN_BYTES = 1 << 20;

export type FetchedManifest = Readonly<{ descriptor: Descriptor; bytes: Buffer }>;

/** One repository of one registry, with the credentials and the token for it; short-lived. */
export class Repository {
  readonly #reference: Reference;
  readonly #auth: RegistryAuth | undefined;
  readonly #mirrors: readonly string[];
  /** The registry itself: with TLS, and where that may be left out also without. */
  #own: readonly string[];
  readonly #insecure: boolean;
  readonly #authorization = new Map<string, Promise<string | undefined>>();

  constructor(reference: Reference, auth: RegistryAuth | undefined, options: RegistryOptions) {
    const { domain } = reference;
    const host = domain === HUB ? HUB_HOST : domain;
    this.#reference = reference;
    this.#auth = auth;
    this.#insecure = isLoopback(host) || (options.insecure ?? []).includes(host);
    this.#mirrors = options.mirrors?.[domain] ?? [];
    this.#own = [`https://${host}`, ...(this.#insecure ? [`http://${host}`] : [])];
  }

  /** By the reference's digest, else its tag; the body is verified against the digest asked for. */
  async top(signal: AbortSignal): Promise<FetchedManifest> {
    return this.manifest(this.#reference.digest ?? this.#reference.tag ?? 'latest', signal);
  }

  async manifest(tagOrDigest: string, signal: AbortSignal): Promise<FetchedManifest> {
    const response = await this.#get(`manifests/${tagOrDigest}`, { accept: ACCEPT }, signal);
    if (response.status !== 200) throw await this.#refusal(response);
    const bytes = await readBody(response, MAX_DOCUMENT_BYTES);
    const digest = sha256(bytes);
    const claimed = response.headers['docker-content-digest'];
    const expected = tagOrDigest.startsWith('sha256:') ? tagOrDigest : (claimed ?? digest);
    if (digest !== expected) {
      throw new ShoalError(
        'invalid-argument',
        `manifest verification failed for digest ${String(expected)}: the registry sent ${digest}`,
      );
    }
    const type = (response.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
    return { descriptor: { mediaType: mediaType(bytes, type), digest, size: bytes.length }, bytes };
  }

  /** A small blob, whole and verified. */
  async document(digest: string, signal: AbortSignal): Promise<Buffer> {
    const response = await this.#get(`blobs/${digest}`, {}, signal);
    if (response.status !== 200) throw await this.#refusal(response);
    const bytes = await readBody(response, MAX_DOCUMENT_BYTES);
    if (sha256(bytes) === digest) return bytes;
    throw new ShoalError(
      'invalid-argument',
      `verification failed for digest ${digest}: the registry sent ${sha256(bytes)}`,
    );
  }

  /** A blob from `offset` on. A registry that ignores ranges sends all: the caller is told where it begins. */
  async blob(
    digest: string,
    offset: number,
    signal: AbortSignal,
  ): Promise<{ from: number; data: AsyncIterable<Uint8Array> }> {
    const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const response = await this.#get(`blobs/${digest}`, range, signal);
    if (response.status !== 200 && response.status !== 206) throw await this.#refusal(response);
    return { from: response.status === 206 ? offset : 0, data: bodyOf(response) };
  }

  async #get(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    for (const mirror of this.#mirrors) {
      const response = await this.#getFrom(mirror, path, headers, signal).catch(() => undefined);
      signal.throwIfAborted();
      if (response !== undefined && response.status < 300) return response;
      // A mirror need not have everything, nor be up.
      response?.body.resume();
    }
    let failure: unknown;
    for (const base of this.#own) {
      try {
        const response = await this.#getFrom(base, path, headers, signal);
        this.#own = [base];
        return response;
      } catch (error) {
        if (!isShoalError(error, 'unavailable')) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  async #getFrom(
    base: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const url = `${base}/v2/${this.#reference.path}/${path}`;
    const attempt = async (authorization: string | undefined) =>
      fetchHttp(url, {
        headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
        insecure: this.#insecure,
        signal,
      });
    const known = this.#authorization.get(base);
    const response = await attempt(await known);
    if (response.status !== 401) return response;
    response.body.resume();
    // Tokens end while a big image is loaded: a new one then, once for all layers that wait for it.
    if (this.#authorization.get(base) === known) {
      const fresh = this.#authorize(response.headers['www-authenticate'], signal);
      fresh.catch(() => this.#authorization.delete(base));
      this.#authorization.set(base, fresh);
    }
    return attempt(await this.#authorization.get(base));
  }

  async #authorize(header: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const challenge = parseChallenge(header);
    const { username = '', password = '', identityToken = '' } = this.#auth ?? {};
    const basic =
      username === ''
        ? undefined
        : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    if (challenge?.scheme !== 'bearer') return basic;
    const scope = challenge.scope || `repository:${this.#reference.path}:pull`;
    const response =
      identityToken === ''
        ? await fetchHttp(tokenUrl(challenge, scope, username || undefined), {
            headers: basic === undefined ? {} : { authorization: basic },
            insecure: this.#insecure,
            signal,
          })
        : await fetchHttp(challenge.realm, {
            method: 'POST',
            headers: { 'content-type': 'application/x-www-form-urlencoded' },
            body: new URLSearchParams({
              grant_type: 'refresh_token',
              refresh_token: identityToken,
              service: challenge.service,
              scope,
              client_id: 'shoal',
            }).toString(),
            insecure: this.#insecure,
            signal,
          });
    if (response.status !== 200) throw await this.#refusal(response);
    const body = await readBody(response, MAX_TOKEN_BYTES);
    try {
      const { token, access_token } = JSON.parse(body.toString()) as Record<string, string>;
      return `Bearer ${token ?? access_token ?? ''}`;
    } catch (error) {
      throw new ShoalError('unavailable', `${challenge.realm} gave no token`, { cause: error });
    }
  }

  /** In the words that the docker CLI and its users know. */
  async #refusal(response: HttpResponse): Promise<ShoalError> {
    const text = await readBody(response, MAX_TOKEN_BYTES).catch(() => Buffer.alloc(0));
    const detail = registryMessage(text.toString());
    const repository = familiarRepository(this.#reference);
    switch (response.status) {
      case 401:
      case 403:
        return new ShoalError(
          'not-found',
          `pull access denied for ${repository}, repository does not exist or may require 'docker login': ${detail ?? 'denied: requested access to the resource is denied'}`,
        );
      case 404:
        return new ShoalError(
          'not-found',
          `manifest for ${familiarFull(this.#reference)} not found: ${detail ?? 'manifest unknown: manifest unknown'}`,
        );
      case 429:
        return new ShoalError(
          'resource-exhausted',
          `toomanyrequests: ${detail ?? 'the registry asks to slow down'}`,
        );
      default:
        return new ShoalError(
          'unavailable',
          `${response.url}: received unexpected HTTP status: ${response.status}${detail ? ` (${detail})` : ''}`,
        );
    }
  }
}

/** A connection that breaks in the middle is a registry that cannot be reached. */
async function* bodyOf(response: HttpResponse): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    if (error instanceof ShoalError) throw error;
    throw new ShoalError('unavailable', `Get "${response.url}": ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** `code: message` of a registry's first error. */
function registryMessage(text: string): string | undefined {
  try {
    const { errors } = JSON.parse(text) as { errors?: { code?: string; message?: string }[] };
    const [first] = errors ?? [];
    if (first === undefined) return undefined;
    const code = (first.code ?? '').toLowerCase().replaceAll('_', ' ');
    return `${code}: ${first.message ?? ''}`;
  } catch {
    return undefined;
  }
}

/** The document's own word, where it has one: some registries send a wrong header. */
function mediaType(bytes: Buffer, header: string): string {
  try {
    const { mediaType: own } = JSON.parse(bytes.toString()) as { mediaType?: string };
    return own ?? header;
  } catch (error) {
    throw new ShoalError('invalid-argument', `the manifest is not JSON: ${messageOf(error)}`);
  }
}
