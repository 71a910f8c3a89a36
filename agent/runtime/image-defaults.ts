import type { Healthcheck } from '../../shared/gen/shoal/v1/objects.ts';
import type { ImageConfig } from '../image/types.ts';
import type { ContainerConfig } from './types.ts';

/** What a container can leave to its image. */
type Open = Pick<
  ContainerConfig,
  'entrypoint' | 'cmd' | 'env' | 'workingDir' | 'user' | 'labels' | 'stopSignal'
>;

/**
 * Fills what a container leaves open from its image, as `docker create` does: an entrypoint of its own
 * also drops the image's command. Callers apply it once, when they make a ContainerConfig.
 */
export function withImageDefaults(config: Open, image: ImageConfig): Open {
  const ownEntrypoint = config.entrypoint.length > 0;
  return {
    entrypoint: ownEntrypoint ? config.entrypoint : image.entrypoint,
    cmd: config.cmd.length > 0 || ownEntrypoint ? config.cmd : image.cmd,
    env: mergeEnv(image.env, config.env),
    workingDir: config.workingDir || image.workingDir || '/',
    user: config.user || image.user,
    labels: { ...image.labels, ...config.labels },
    stopSignal: config.stopSignal || image.stopSignal || 'SIGTERM',
  };
}

/** A health check with what it leaves open from the image's, field by field, as Docker does. */
export function withImageHealthcheck(
  own: Healthcheck | undefined,
  image: Healthcheck | undefined,
): Healthcheck | undefined {
  if (own === undefined || image === undefined) return own ?? image;
  return {
    test: own.test.length > 0 ? own.test : image.test,
    intervalNs: own.intervalNs || image.intervalNs,
    timeoutNs: own.timeoutNs || image.timeoutNs,
    startPeriodNs: own.startPeriodNs || image.startPeriodNs,
    startIntervalNs: own.startIntervalNs || image.startIntervalNs,
    retries: own.retries || image.retries,
  };
}

/** `NAME=value` overrides; a name alone takes the variable away. */
export function mergeEnv(base: readonly string[], over: readonly string[]): string[] {
  const merged = new Map<string, string>();
  for (const entry of [...base, ...over]) {
    const equals = entry.indexOf('=');
    if (equals < 0) merged.delete(entry);
    else merged.set(entry.slice(0, equals), entry);
  }
  return [...merged.values()];
}
