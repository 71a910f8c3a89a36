import { ShoalError } from '../../shared/errors.ts';
import { isVolumeName } from '../../shared/model/volume-name.ts';

/** Throws `invalid-argument`. */
export function checkVolumeName(name: string): void {
  if (isVolumeName(name)) return;
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
