import { unreachable } from '../../shared/unreachable.ts';
import { MOUNTS } from './defaults.ts';
import type { OciMount } from './oci.ts';
import type { ContainerConfig, ContainerMount } from './types.ts';

/** Host paths of what is bound into every container. */
export type BoundPaths = Readonly<{
  hostname: string;
  hosts: string;
  resolvConf: string;
  files: readonly string[];
  init: Readonly<{ source: string; target: string }> | undefined;
}>;

const TMPFS_MODE = 0o1777;

/**
 * All mounts in the order they are made: Docker's defaults, then the container's, parents before children.
 * A mount of the container's replaces a default one with the same target.
 */
export function mounts(config: ContainerConfig, paths: BoundPaths): OciMount[] {
  const own = [
    ...config.mounts.map(ownMount),
    ...config.files.map((file, index) => bind(paths.files[index] ?? '', file.target, true)),
    ...(paths.init === undefined ? [] : [bind(paths.init.source, paths.init.target, true)]),
  ];
  const taken = new Set(own.map((mount) => mount.destination));
  const given = [
    bind(paths.resolvConf, '/etc/resolv.conf', false),
    bind(paths.hostname, '/etc/hostname', false),
    bind(paths.hosts, '/etc/hosts', false),
  ].filter((mount) => !taken.has(mount.destination));
  return [
    ...MOUNTS.filter((mount) => !taken.has(mount.destination)),
    ...[...given, ...own].sort((a, b) => depth(a.destination) - depth(b.destination)),
  ];
}

function ownMount(mount: ContainerMount): OciMount {
  switch (mount.type) {
    case 'bind': {
      const options = [mount.recursive ? 'rbind' : 'bind', mount.propagation || 'rprivate'];
      return {
        destination: clean(mount.target),
        type: 'bind',
        source: mount.source,
        options: [...options, ...(mount.readOnly ? ['ro'] : [])],
      };
    }
    case 'volume':
      return bind(mount.source, mount.target, mount.readOnly);
    case 'tmpfs':
      return {
        destination: clean(mount.target),
        type: 'tmpfs',
        source: 'tmpfs',
        options: [
          'noexec',
          'nosuid',
          'nodev',
          'rprivate',
          `mode=${(mount.mode || TMPFS_MODE).toString(8)}`,
          ...(mount.sizeBytes > 0 ? [`size=${mount.sizeBytes}`] : []),
          ...(mount.readOnly ? ['ro'] : []),
        ],
      };
    default:
      return unreachable(mount);
  }
}

function bind(source: string, target: string, readOnly: boolean): OciMount {
  return {
    destination: clean(target),
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', ...(readOnly ? ['ro'] : [])],
  };
}

function clean(path: string): string {
  return `/${path.split('/').filter(Boolean).join('/')}`;
}

function depth(path: string): number {
  return path.split('/').length;
}
