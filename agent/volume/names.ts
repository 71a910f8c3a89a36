import { ShoalError } from '../../shared/errors.ts';
import type { Random } from '../../shared/random.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const LONGEST_NAME = 200; // a directory's name ends at 255 bytes

/** Throws `invalid-argument`. What passes is one path part that no `..` hides in. */
export function checkVolumeName(name: string): void {
  if (NAME.test(name) && name.length <= LONGEST_NAME) return;
  throw new ShoalError(
    'invalid-argument',
    `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

/** Only the local driver is here: throws `unimplemented` for others. */
export function checkVolumeDriver(driver: string): void {
  if (driver === '' || driver === 'local') return;
  throw new ShoalError('unimplemented', `this is not supported yet: volume driver "${driver}"`);
}

/** 64 hex characters, as Docker names volumes that nobody named. */
export function anonymousName(random: Random): string {
  return [...random.bytes(32)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
