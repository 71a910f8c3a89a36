import { createHash, randomUUID } from 'node:crypto';
import { isShoalError, ShoalError } from '../../../shared/errors.ts';
import {
  ContentService,
  WriteAction,
  type WriteRequest,
  type WriteResponse,
} from '../../../shared/gen/containerd/content.ts';
import { LeasesService } from '../../../shared/gen/containerd/leases.ts';
import { type ContainerdClient, containerdError } from '../../runtime/io/containerd.ts';
import { MAX_DOCUMENT_BYTES } from '../manifest.ts';

/** containerd takes at most 16 MiB a message; a megabyte keeps what is in flight small. */
const CHUNK_BYTES = 1 << 20;
/** As containerd's own client has it: a large image over a narrow link takes hours. */
const LEASE_MS = 86_400_000;

export type Blob = Readonly<{ digest: string; sizeBytes: number }>;
export type NewBlob = Readonly<{
  /** Names the upload: the same one goes on where it was cut off. */
  ref: string;
  lease: string;
  /** Of a blob whose digest is not known before it was read: both are left out. */
  digest?: string;
  sizeBytes?: number;
  labels?: Readonly<Record<string, string>>;
}>;

/** containerd's store of blobs. */
export class ContentStore {
  readonly #client: ContainerdClient;

  constructor(client: ContainerdClient) {
    this.#client = client;
  }

  /**
   * Runs `work` with a lease: what is made under it is safe from the garbage collector until then. A lease
   * that a crash left behind ends by itself after a day.
   */
  async withLease<T>(purpose: string, work: (lease: string) => Promise<T>): Promise<T> {
    const id = `shoal-${purpose}-${randomUUID()}`;
    const expiry = new Date(Date.now() + LEASE_MS).toISOString().replace(/\.\d+Z$/, 'Z');
    const labels = { 'containerd.io/gc.expire': expiry };
    await this.#client.call(LeasesService.create, { id, labels });
    try {
      return await work(id);
    } finally {
      await this.#client.call(LeasesService.delete, { id, sync: false }).catch(() => undefined);
    }
  }

  /**
   * Puts a blob (`content`) or a snapshot (`snapshots/NAME`) under a lease, whether it is there yet or not. A
   * call of containerd's does this with what it makes, not with what was there already: that may have been
   * kept by nothing but a lease that has just ended. To be done before one looks whether it is there.
   */
  async hold(lease: string, type: string, id: string): Promise<void> {
    await this.#client.call(LeasesService.addResource, { id: lease, resource: { type, id } });
  }

  /**
   * Stores a blob. `open` gives its bytes, from the offset that is asked for on or from an earlier one, and
   * tells which; it is not asked when the store has the blob already. containerd checks the digest. Throws
   * `invalid-argument` when the bytes are others than promised: then nothing is kept of them; after any
   * other error the upload can be taken up again.
   */
  async write(
    blob: NewBlob,
    open: (offset: number) => Promise<{ from: number; data: AsyncIterable<Uint8Array> }>,
    onOffset: (bytes: number) => void = () => undefined,
  ): Promise<Blob> {
    const { ref, lease, digest: expected = '', sizeBytes: total = 0, labels = {} } = blob;
    const upload = new Upload(this.#client, lease);
    try {
      const base = { ref, total, expected, data: Buffer.alloc(0), labels: {} };
      const stat = await upload.send({ ...base, action: WriteAction.STAT, offset: 0 });
      let { offset } = stat;
      const hash = expected === '' ? createHash('sha256') : undefined;
      if (expected === '' || offset < total) {
        const source = await open(offset);
        // Bytes that are there already are read and dropped.
        let skip = offset - source.from;
        for await (const chunk of source.data) {
          const bytes = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - bytes.length;
          hash?.update(bytes);
          for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
            const data = Buffer.from(
              bytes.buffer,
              bytes.byteOffset + at,
              Math.min(CHUNK_BYTES, bytes.length - at),
            );
            await upload.send({ ...base, action: WriteAction.WRITE, offset, data });
            offset += data.length;
            onOffset(offset);
          }
          if (total > 0 && offset > total) break;
        }
      }
      if (expected !== '' && offset !== total) {
        if (offset > total) await this.#abort(ref, upload);
        const code = offset > total ? 'invalid-argument' : 'unavailable';
        throw new ShoalError(code, `blob ${expected}: got ${offset} bytes instead of ${total}`);
      }
      const digest = hash === undefined ? expected : `sha256:${hash.digest('hex')}`;
      await this.hold(lease, 'content', digest);
      try {
        const commit = { ...base, total: offset, expected: digest, offset, labels: { ...labels } };
        await upload.send({ ...commit, action: WriteAction.COMMIT });
      } catch (error) {
        if (isShoalError(error, 'already-exists')) await this.label(digest, labels);
        else if (isShoalError(error, 'failed-precondition')) {
          await this.#abort(ref, upload);
          throw new ShoalError(
            'invalid-argument',
            `filesystem layer verification failed for digest ${expected}`,
            { cause: error },
          );
        } else throw error;
      }
      return { digest, sizeBytes: offset };
    } catch (error) {
      // Of the first request: the store has it. That also put it under our lease, without the labels.
      if (isShoalError(error, 'already-exists') && expected !== '') {
        await this.label(expected, labels);
        return { digest: expected, sizeBytes: total };
      }
      throw error;
    } finally {
      upload.close();
    }
  }

  /** A document that is in memory. */
  writeBytes(
    bytes: Uint8Array,
    blob: Omit<NewBlob, 'sizeBytes' | 'ref'> & { digest: string },
  ): Promise<Blob> {
    const whole = { ...blob, ref: `document-${blob.digest}`, sizeBytes: bytes.length };
    return this.write(whole, async () => ({ from: 0, data: once(bytes) }));
  }

  async label(digest: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const paths = Object.keys(labels).map((key) => `labels.${key}`);
    if (paths.length === 0) return;
    await this.#client.call(ContentService.update, {
      info: { digest, size: 0, labels: { ...labels }, createdAt: undefined, updatedAt: undefined },
      updateMask: { paths },
    });
  }

  /** Its size; undefined when the store lacks it. */
  async sizeOf(digest: string): Promise<number | undefined> {
    try {
      return (await this.#client.call(ContentService.info, { digest })).info?.size;
    } catch (error) {
      if (isShoalError(error, 'not-found')) return undefined;
      throw error;
    }
  }

  async *read(digest: string, signal?: AbortSignal): AsyncGenerator<Buffer, void, void> {
    const request = { digest, offset: 0, size: 0 };
    for await (const { data } of this.#client.stream(ContentService.read, request, { signal })) {
      yield data;
    }
  }

  /** A manifest or configuration. Throws `not-found`, or `invalid-argument` when it is too big to be one. */
  async document(digest: string): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.read(digest)) {
      length += chunk.length;
      if (length > MAX_DOCUMENT_BYTES) {
        throw new ShoalError('invalid-argument', `${digest} is too big for an image's description`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  async #abort(ref: string, upload: Upload): Promise<void> {
    upload.close();
    // containerd lets go of the upload a moment after its stream ended.
    for (let tries = 0; tries < 20; tries += 1) {
      const aborted = await this.#client.call(ContentService.abort, { ref }).then(
        () => true,
        (error) => isShoalError(error, 'not-found'),
      );
      if (aborted) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

/** A stream of requests that each have one answer: waiting for it is the flow control. */
class Upload {
  readonly #stream: ReturnType<typeof openStream>;
  #waiting: PromiseWithResolvers<WriteResponse> | undefined;
  #failure: ShoalError | undefined;

  constructor(client: ContainerdClient, lease: string) {
    this.#stream = openStream(client, lease);
    this.#stream.on('data', (answer: WriteResponse) => this.#waiting?.resolve(answer));
    const fail = (error: unknown) => {
      this.#failure ??= containerdError(error);
      this.#waiting?.reject(this.#failure);
    };
    this.#stream.on('error', fail);
    this.#stream.on('end', () =>
      fail(new ShoalError('unavailable', 'containerd ended the upload')),
    );
  }

  send(request: WriteRequest): Promise<WriteResponse> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#waiting = Promise.withResolvers();
    this.#stream.write(request);
    return this.#waiting.promise;
  }

  close(): void {
    this.#stream.cancel();
  }
}

function openStream(client: ContainerdClient, lease: string) {
  return client.duplex(ContentService.write, { lease });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
