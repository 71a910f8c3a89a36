import type { Volume } from '../../volume/types.ts';
import { rfc3339 } from './meta.ts';

export function volumeJson(volume: Volume) {
  return {
    CreatedAt: rfc3339(volume.createdAtMs),
    Driver: volume.driver,
    Labels: Object.keys(volume.labels).length > 0 ? volume.labels : null,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: null,
    Scope: 'local',
  };
}
