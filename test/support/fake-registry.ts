// A registry in this process, with faults on demand.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

export const sha256 = (data: Uint8Array | string) =>
  `sha256:${createHash('sha256').update(data).digest('hex')}`;

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

export type Descriptor = { mediaType: string; digest: string; size: number; platform?: object };

/** A tar of one file; `gzip` as most registries have it. */
export async function layer(path: string, text: string): Promise<{ tar: Buffer; gzip: Buffer }> {
  const tar = pack();
  tar.entry({ name: path, mtime: new Date(0) }, text);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  return { tar: whole, gzip: gzipSync(whole) };
}

export class FakeRegistry {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, { type: string; body: Buffer }>();
  /** `METHOD path status` of each request. */
  readonly log: string[] = [];
  /** Looked at before each request is answered; true: it was answered here. */
  fault: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  readonly #server;
  readonly #secure: boolean;

  constructor(tls?: { key: string; cert: string }) {
    const handle = (request: IncomingMessage, response: ServerResponse) =>
      this.#handle(request, response);
    this.#secure = tls !== undefined;
    this.#server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.#secure ? 'https' : 'http'}://${this.host}`;
  }

  /** How often something was asked for. */
  count(part: string): number {
    return this.log.filter((line) => line.includes(part)).length;
  }

  blob(data: Buffer, mediaType: string): Descriptor {
    const digest = sha256(data);
    this.blobs.set(digest, data);
    return { mediaType, digest, size: data.length };
  }

  manifest(reference: string, body: object, type = MANIFEST): Descriptor {
    const bytes = Buffer.from(JSON.stringify(body));
    const digest = sha256(bytes);
    for (const key of [reference, digest]) this.manifests.set(key, { type, body: bytes });
    return { mediaType: type, digest, size: bytes.length };
  }

  /** An image of these layers under a tag. */
  image(
    tag: string,
    layers: readonly { tar: Buffer; gzip: Buffer }[],
    config: object = {},
  ): Descriptor {
    const document = {
      architecture: 'amd64',
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => sha256(tar)) },
    };
    return this.manifest(tag, {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: this.blob(
        Buffer.from(JSON.stringify(document)),
        'application/vnd.oci.image.config.v1+json',
      ),
      layers: layers.map(({ gzip }) =>
        this.blob(gzip, 'application/vnd.oci.image.layer.v1.tar+gzip'),
      ),
    });
  }

  index(tag: string, manifests: readonly Descriptor[]): Descriptor {
    return this.manifest(tag, { schemaVersion: 2, mediaType: INDEX, manifests }, INDEX);
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    response.on('close', () =>
      this.log.push(`${request.method} ${request.url} ${response.statusCode}`),
    );
    if (this.fault(request, response)) return;
    const [, kind, name = ''] =
      /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
    if (kind === 'manifests') {
      const found = this.manifests.get(name);
      if (found === undefined) {
        refuse(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
        return;
      }
      response.writeHead(200, {
        'content-type': found.type,
        'docker-content-digest': sha256(found.body),
      });
      response.end(found.body);
      return;
    }
    const blob = this.blobs.get(name);
    if (blob === undefined) {
      refuse(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
      return;
    }
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': blob.length - from });
    response.end(blob.subarray(from));
  }
}

export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): true {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
  return true;
}
