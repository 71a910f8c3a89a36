import type { Mount } from '../../../shared/gen/shoal/v1/objects.ts';
import { isVolumeName } from '../../../shared/model/volume-name.ts';
import { invalid, unimplemented } from '../refuse.ts';

const TYPES = ['bind', 'volume', 'tmpfs'];
const PROPAGATIONS = ['', 'rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'];
const CONSISTENCIES = ['', 'default', 'consistent', 'cached', 'delegated'];
const MAX_FILE_MODE = 0o7777;

/** Templates are expanded on the host that runs the task: what has one is judged there. */
export function isTemplate(text: string): boolean {
  return text.includes('{{');
}

export function checkMounts(mounts: readonly Mount[]): void {
  const targets = new Set<string>();
  for (const mount of mounts) {
    checkMount(mount);
    const target = normal(mount.target);
    if (targets.has(target)) {
      throw invalid(`ContainerSpec: duplicate mount point: ${mount.target}`);
    }
    targets.add(target);
  }
}

function checkMount(mount: Mount): void {
  const { type, source, target } = mount;
  if (!TYPES.includes(type)) {
    const message = `ContainerSpec: mount type ${JSON.stringify(type)} of ${target} is not supported: use bind, volume or tmpfs`;
    throw type === '' ? invalid(message) : unimplemented(message);
  }
  if (target === '') throw invalid(`ContainerSpec: a ${type} mount has no target`);
  if (!isTemplate(target)) {
    if (!target.startsWith('/')) {
      throw invalid(`invalid mount target, must be an absolute path: ${target}`);
    }
    if (normal(target) === '/')
      throw invalid(`invalid mount target, must not be the root: ${target}`);
  }
  for (const [field, text] of [
    ['source', source],
    ['target', target],
  ]) {
    if (text?.includes('\0'))
      throw invalid(`ContainerSpec: the ${field} of a mount has a NUL in it`);
  }
  for (const [other, options] of [
    ['bind', mount.bind],
    ['volume', mount.volume],
    ['tmpfs', mount.tmpfs],
  ] as const) {
    if (other !== type && options !== undefined) {
      throw invalid(`mount ${target}: ${other} options cannot be given for a ${type} mount`);
    }
  }
  if (!CONSISTENCIES.includes(mount.consistency)) {
    throw invalid(`mount ${target}: unknown consistency ${JSON.stringify(mount.consistency)}`);
  }
  if (type === 'bind') checkBind(mount);
  else if (type === 'volume') checkVolume(mount);
  else checkTmpfs(mount);
}

function checkBind({ source, target, bind }: Mount): void {
  if (source === '') throw invalid(`invalid bind mount ${target}: a source is needed`);
  if (!isTemplate(source) && !source.startsWith('/')) {
    throw invalid(`invalid bind mount source, must be an absolute path: ${source}`);
  }
  const propagation = bind?.propagation ?? '';
  if (!PROPAGATIONS.includes(propagation)) {
    throw invalid(
      `mount ${target}: unknown bind propagation ${JSON.stringify(propagation)}: expected one of ${PROPAGATIONS.filter((word) => word !== '').join(', ')}`,
    );
  }
}

function checkVolume({ source, target, volume }: Mount): void {
  if (source !== '' && !isTemplate(source)) {
    if (source.startsWith('/')) {
      throw invalid(`invalid volume mount source, must not be an absolute path: ${source}`);
    }
    if (!isVolumeName(source)) {
      throw invalid(
        `invalid volume mount source ${JSON.stringify(source.slice(0, 80))}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and 200 of them at most`,
      );
    }
  }
  const driver = volume?.driver ?? '';
  if (driver !== '' && driver !== 'local') {
    throw unimplemented(
      `mount ${target}: volume driver ${JSON.stringify(driver)} is not supported yet: use local`,
    );
  }
  if (Object.keys(volume?.driverOptions ?? {}).length > 0) {
    throw unimplemented(`mount ${target}: options of a volume's driver are not supported yet`);
  }
  const subpath = volume?.subpath ?? '';
  if (subpath.startsWith('/') || subpath.split('/').includes('..')) {
    throw invalid(`mount ${target}: subpath must be a relative path inside the volume: ${subpath}`);
  }
}

function checkTmpfs({ source, target, tmpfs }: Mount): void {
  if (source !== '') throw invalid(`invalid tmpfs mount ${target}: it cannot have a source`);
  if ((tmpfs?.sizeBytes ?? 0) < 0) throw invalid(`mount ${target}: tmpfs size cannot be negative`);
  if ((tmpfs?.mode ?? 0) > MAX_FILE_MODE) {
    throw invalid(`mount ${target}: tmpfs mode must be at most 7777 (octal)`);
  }
}

/** Without double and trailing slashes, so that `/a/` and `//a` are the same place. */
function normal(path: string): string {
  return `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`;
}
