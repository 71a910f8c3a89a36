import type { Healthcheck } from '../../shared/gen/shoal/v1/objects.ts';

/** The parts of an OCI image configuration that a container needs. */
export type ImageConfig = Readonly<{
  env: readonly string[];
  entrypoint: readonly string[];
  cmd: readonly string[];
  workingDir: string;
  user: string;
  exposedPorts: readonly string[];
  volumes: readonly string[];
  labels: Readonly<Record<string, string>>;
  stopSignal: string;
  healthcheck: Healthcheck | undefined;
}>;

/** An image that is unpacked on this host. */
export type Image = Readonly<{
  /** Digest of its configuration, `sha256:...`: what Docker calls the image id. */
  id: string;
  /** `repository:tag` names it has here, in familiar form (`web:1`, not `docker.io/library/web:1`). */
  tags: readonly string[];
  /** `repository@sha256:...` names. */
  repoDigests: readonly string[];
  architecture: string;
  os: string;
  createdAt: string;
  author: string;
  /** Of all layers. */
  sizeBytes: number;
  /** Digests of the uncompressed layers. */
  diffIds: readonly string[];
  /** Bytes of each layer unpacked, in their order; of an image that is not unpacked yet, of its blobs. */
  layerBytes: readonly number[];
  /** Chain id of all layers: the parent snapshot of a container; empty for an image without layers. */
  chainId: string;
  /** Descriptor digest of the manifest or index that names it. */
  targetDigest: string;
  history: readonly Readonly<{
    createdAt: string;
    createdBy: string;
    emptyLayer: boolean;
    comment: string;
  }>[];
  config: ImageConfig;
}>;

/** One line of a pull or load, as `docker pull` shows it. */
export type ImageProgress = Readonly<{
  id?: string;
  status: string;
  current?: number;
  total?: number;
}>;

export type RegistryAuth = Readonly<{ username: string; password: string; identityToken: string }>;

export type RemovedImage = Readonly<{ untagged?: string; deleted?: string }>;

/**
 * Images of this host. Errors are ShoalError: `not-found` ("No such image: x:tag"; for pulls: "manifest
 * for x:tag not found", "pull access denied for x, ..."), `invalid-argument` for references,
 * `failed-precondition` for images in use, `unavailable` when a registry cannot be reached.
 */
export interface Images {
  list(): Promise<readonly Image[]>;
  /** By id, unique id prefix (with or without `sha256:`), or reference in any form. */
  get(nameOrId: string): Promise<Image>;
  /** The image if it is here, else pulled. With a digest in the name that digest and no other. */
  ensure(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<Image>;
  pull(
    reference: string,
    options: {
      auth?: RegistryAuth;
      platform?: string;
      onProgress: (line: ImageProgress) => void;
      signal: AbortSignal;
    },
  ): Promise<Image>;
  /** `docker load`: docker-archive or OCI layout tar, plain or gzip. Returns the names (or ids) loaded. */
  load(tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly string[]>;
  /** `docker import`: a root file system tar becomes a one-layer image. `changes` are Dockerfile instructions. */
  import(
    tar: AsyncIterable<Uint8Array>,
    options: {
      reference: string | undefined;
      message: string;
      changes: readonly string[];
      signal: AbortSignal;
    },
  ): Promise<Image>;
  /** `docker save`: a docker-archive tar. */
  save(names: readonly string[], signal: AbortSignal): AsyncIterable<Uint8Array>;
  tag(source: string, reference: string): Promise<void>;
  /** `inUse` tells which image ids have containers. */
  remove(
    name: string,
    options: { force: boolean; inUse: (imageId: string) => string | undefined },
  ): Promise<readonly RemovedImage[]>;
  /** The manifest digest and platforms of a name in its registry, for `GET /distribution/{name}/json`. */
  resolve(
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<
    Readonly<{
      mediaType: string;
      digest: string;
      sizeBytes: number;
      platforms: readonly Readonly<{ architecture: string; os: string }>[];
    }>
  >;
}
