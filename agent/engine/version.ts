import { HttpError } from './http.ts';

export const API_VERSION = '1.48';
export const MIN_API_VERSION = '1.24';
/**
 * The daemon version that clients are told, of this host and of the nodes of its cluster: they compare it as
 * Docker's. Features are decided by the API version, not by this.
 */
export const ENGINE_VERSION = '28.2.2';
/** Our own, that of package.json. */
export const SHOAL_VERSION = '0.1.0';

const MAX_MINOR = 48;
const MIN_MINOR = 24;

/** Splits `/v1.41/containers/json`; a path without a version speaks the newest. Throws HttpError 400. */
export function splitVersion(path: string): { api: number; path: string } {
  const match = /^\/v(\d+)\.(\d+)(\/.*)$/.exec(path);
  if (match === null) return { api: MAX_MINOR, path };
  const major = Number(match[1]);
  const minor = Number(match[2]);
  const asked = `${major}.${minor}`;
  if (major > 1 || (major === 1 && minor > MAX_MINOR)) {
    throw new HttpError(
      400,
      `client version ${asked} is too new. Maximum supported API version is ${API_VERSION}`,
    );
  }
  if (major < 1 || minor < MIN_MINOR) {
    throw new HttpError(
      400,
      `client version ${asked} is too old. Minimum supported API version is ${MIN_API_VERSION}, please upgrade your client to a newer version`,
    );
  }
  return { api: minor, path: match[3] ?? '/' };
}
