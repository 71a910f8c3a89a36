import type { Healthcheck } from '../../../shared/gen/shoal/v1/objects.ts';
import type { Image } from '../../image/types.ts';

/** One row of `GET /images/json`. */
export function imageSummaryJson(image: Image, containers: number) {
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: image.tags,
    RepoDigests: image.repoDigests,
    Created: unixSeconds(image.createdAt),
    Size: image.sizeBytes,
    SharedSize: -1,
    Labels: image.config.labels,
    Containers: containers,
  };
}

/** `GET /images/{name}/json`. */
export function imageJson(image: Image) {
  const { config } = image;
  return {
    Id: image.id,
    RepoTags: image.tags,
    RepoDigests: image.repoDigests,
    Parent: '',
    Comment: image.history.at(-1)?.comment ?? '',
    Created: image.createdAt,
    DockerVersion: '',
    Author: image.author,
    Config: {
      Hostname: '',
      Domainname: '',
      User: config.user,
      AttachStdin: false,
      AttachStdout: false,
      AttachStderr: false,
      ...(config.exposedPorts.length > 0 && { ExposedPorts: keys(config.exposedPorts) }),
      Tty: false,
      OpenStdin: false,
      StdinOnce: false,
      Env: config.env.length > 0 ? config.env : null,
      Cmd: config.cmd.length > 0 ? config.cmd : null,
      ...(config.healthcheck && { Healthcheck: healthcheckJson(config.healthcheck) }),
      Image: '',
      Volumes: config.volumes.length > 0 ? keys(config.volumes) : null,
      WorkingDir: config.workingDir,
      Entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
      OnBuild: null,
      Labels: Object.keys(config.labels).length > 0 ? config.labels : null,
      ...(config.stopSignal !== '' && { StopSignal: config.stopSignal }),
    },
    Architecture: image.architecture,
    Os: image.os,
    Size: image.sizeBytes,
    GraphDriver: { Name: 'overlayfs', Data: null },
    RootFS: { Type: 'layers', Layers: image.diffIds },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

/** `GET /images/{name}/history`, newest first; only the top has an id, as with pulled images. */
export function historyJson(image: Image) {
  let layer = 0;
  return image.history
    .map((entry, index) => {
      const isTop = index === image.history.length - 1;
      return {
        Id: isTop ? image.id : '<missing>',
        Created: unixSeconds(entry.createdAt),
        CreatedBy: entry.createdBy,
        Tags: isTop && image.tags.length > 0 ? image.tags : null,
        Size: entry.emptyLayer ? 0 : (image.layerBytes[layer++] ?? 0),
        Comment: entry.comment,
      };
    })
    .reverse();
}

/** Unix seconds of an RFC 3339 time; 0 for none. */
export function unixSeconds(at: string): number {
  const ms = Date.parse(at);
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

function keys(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

/** As images and containers show it; nanoseconds. */
export function healthcheckJson(check: Healthcheck) {
  return {
    Test: check.test,
    Interval: check.intervalNs,
    Timeout: check.timeoutNs,
    StartPeriod: check.startPeriodNs,
    StartInterval: check.startIntervalNs,
    Retries: check.retries,
  };
}
