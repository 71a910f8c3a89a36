import { ShoalError } from '../../../shared/errors.ts';
import { invalid } from '../refuse.ts';

const DNS_COMPONENT = /^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$/;
const FILE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/;
const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const MAX_NAME_LENGTH = 63; // of a DNS label
const MAX_FILE_NAME_LENGTH = 64;

/** Names every host has of its own; services may attach to `host` and `none`. */
const PREDEFINED_NETWORKS: ReadonlySet<string> = new Set(['host', 'bridge', 'none']);

export function checkServiceName(name: string): void {
  if (name === '') throw invalid('name must be provided');
  // Length first: the pattern is linear only on what is short.
  if (name.length > MAX_NAME_LENGTH) throw invalid('name must be 63 characters or fewer');
  if (!DNS_COMPONENT.test(name)) throw invalid('name must be valid as a DNS name component');
}

/** Of secrets and configs. */
export function checkFileName(name: string): void {
  if (name === '') throw invalid('name must be provided');
  if (name.length > MAX_FILE_NAME_LENGTH || !FILE_NAME.test(name)) {
    throw invalid(
      'invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]',
    );
  }
}

export function checkNetworkName(name: string): void {
  if (name === '') throw invalid('name must be provided');
  if (PREDEFINED_NETWORKS.has(name)) {
    throw new ShoalError(
      'permission-denied',
      `operation is not permitted on predefined ${name} network`,
    );
  }
  if (name.length > MAX_FILE_NAME_LENGTH || !NETWORK_NAME.test(name)) {
    throw invalid(
      `invalid network name ${JSON.stringify(name.slice(0, 80))}: at most 64 of [a-zA-Z0-9_.-], the first one of [a-zA-Z0-9]`,
    );
  }
}
