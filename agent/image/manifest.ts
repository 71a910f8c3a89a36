import { ShoalError } from '../../shared/errors.ts';
import type { Image, ImageConfig } from './types.ts';

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/** Manifests and configurations are read into memory: beyond this it is not one. */
export const MAX_DOCUMENT_BYTES = 8 << 20;
const MAX_LAYERS = 512;

export type Descriptor = Readonly<{
  mediaType: string;
  digest: string;
  size: number;
  platform?: Readonly<{ os: string; architecture: string; variant?: string }>;
  annotations?: Readonly<Record<string, string>>;
}>;
export type Platform = Readonly<{ os: string; architecture: string; variant?: string }>;

export type Manifest = Readonly<{ config: Descriptor; layers: readonly Descriptor[] }>;
export type Index = Readonly<{ manifests: readonly Descriptor[] }>;

export function isIndex(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_INDEX;
}

/** Throws `invalid-argument` for what is neither a manifest nor an index: schema 1, or no manifest at all. */
export function parseManifest(bytes: Uint8Array): Manifest | Index {
  const json = parseJson(bytes, 'manifest') as Partial<Manifest & Index>;
  if (Array.isArray(json.manifests) && json.manifests.every(isDescriptor)) {
    return { manifests: json.manifests };
  }
  const { config, layers } = json;
  if (isDescriptor(config) && Array.isArray(layers) && layers.every(isDescriptor)) {
    if (layers.length > MAX_LAYERS) {
      throw new ShoalError('invalid-argument', `an image of ${layers.length} layers is too deep`);
    }
    return { config, layers };
  }
  throw new ShoalError(
    'invalid-argument',
    'unsupported manifest: only OCI images and Docker images of schema 2 are understood',
  );
}

export function isIndexDocument(document: Manifest | Index): document is Index {
  return 'manifests' in document;
}

function isDescriptor(value: unknown): value is Descriptor {
  const candidate = value as Partial<Descriptor> | null | undefined;
  return (
    typeof candidate?.digest === 'string' &&
    /^sha256:[0-9a-f]{64}$/.test(candidate.digest) &&
    typeof candidate.mediaType === 'string' &&
    Number.isSafeInteger(candidate.size) &&
    (candidate.size ?? -1) >= 0
  );
}

/** `linux/arm64/v8` as given by `--platform`; what is left out is the host's. */
export function parsePlatform(raw: string | undefined, host: Platform): Platform {
  if (raw === undefined || raw === '') return host;
  const [os = '', architecture, variant] = raw.toLowerCase().split('/');
  if (os === '' || raw.split('/').length > 3) {
    throw new ShoalError('invalid-argument', `"${raw}": unknown operating system or architecture`);
  }
  if (architecture === undefined) {
    return os === 'linux' ? host : { os: 'linux', architecture: toOci(os) };
  }
  return { os, architecture: toOci(architecture), ...(variant ? { variant } : {}) };
}

/** Node's and the kernel's names of architectures in OCI's words. */
export function toOci(architecture: string): string {
  const names: Record<string, string> = { x64: 'amd64', x86_64: 'amd64', aarch64: 'arm64' };
  return names[architecture] ?? architecture;
}

/** The index's image for a platform: the same variant before any other. Throws `not-found` with Docker's words. */
export function choosePlatform(index: Index, wanted: Platform): Descriptor {
  const fitting = index.manifests.filter(
    ({ platform }) =>
      platform?.os === wanted.os && toOci(platform.architecture) === wanted.architecture,
  );
  const exact = fitting.find(({ platform }) => platform?.variant === wanted.variant);
  const chosen = exact ?? fitting[0];
  if (chosen === undefined) {
    throw new ShoalError(
      'not-found',
      `no matching manifest for ${wanted.os}/${wanted.architecture}${wanted.variant ? `/${wanted.variant}` : ''} in the manifest list entries`,
    );
  }
  return chosen;
}

/** What an image's configuration document says, as far as we look into it. */
export type ConfigDocument = Readonly<{
  diffIds: readonly string[];
  image: Pick<Image, 'architecture' | 'os' | 'createdAt' | 'author' | 'history' | 'config'>;
}>;

type RawConfig = Partial<{
  architecture: string;
  os: string;
  created: string;
  author: string;
  rootfs: Partial<{ diff_ids: string[] }>;
  history: Partial<{
    created: string;
    created_by: string;
    empty_layer: boolean;
    comment: string;
  }>[];
  config: Partial<{
    Env: string[] | null;
    Entrypoint: string[] | null;
    Cmd: string[] | null;
    WorkingDir: string;
    User: string;
    ExposedPorts: Record<string, unknown> | null;
    Volumes: Record<string, unknown> | null;
    Labels: Record<string, string> | null;
    StopSignal: string;
    Healthcheck: Partial<{
      Test: string[];
      Interval: number;
      Timeout: number;
      StartPeriod: number;
      StartInterval: number;
      Retries: number;
    }> | null;
  }> | null;
}>;

export function parseConfig(bytes: Uint8Array): ConfigDocument {
  const raw = parseJson(bytes, 'image configuration') as RawConfig;
  const config = raw.config ?? {};
  return {
    diffIds: raw.rootfs?.diff_ids ?? [],
    image: {
      architecture: raw.architecture ?? '',
      os: raw.os ?? '',
      createdAt: raw.created ?? '',
      author: raw.author ?? '',
      history: (raw.history ?? []).map((step) => ({
        createdAt: step.created ?? '',
        createdBy: step.created_by ?? '',
        emptyLayer: step.empty_layer ?? false,
        comment: step.comment ?? '',
      })),
      config: {
        env: config.Env ?? [],
        entrypoint: config.Entrypoint ?? [],
        cmd: config.Cmd ?? [],
        workingDir: config.WorkingDir ?? '',
        user: config.User ?? '',
        exposedPorts: Object.keys(config.ExposedPorts ?? {}),
        volumes: Object.keys(config.Volumes ?? {}),
        labels: config.Labels ?? {},
        stopSignal: config.StopSignal ?? '',
        healthcheck: parseHealthcheck(config),
      },
    },
  };
}

function parseHealthcheck(config: NonNullable<RawConfig['config']>): ImageConfig['healthcheck'] {
  const raw = config.Healthcheck;
  if (raw === undefined || raw === null || (raw.Test ?? []).length === 0) return undefined;
  return {
    test: raw.Test ?? [],
    intervalNs: raw.Interval ?? 0,
    timeoutNs: raw.Timeout ?? 0,
    startPeriodNs: raw.StartPeriod ?? 0,
    startIntervalNs: raw.StartInterval ?? 0,
    retries: raw.Retries ?? 0,
  };
}

export function parseJson(bytes: Uint8Array, what: string): object {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Said below.
  }
  throw new ShoalError('invalid-argument', `the ${what} is not JSON`);
}
