import { invalid } from '../refuse.ts';

const MAX_LENGTH = 512;
const MAX_NAME_LENGTH = 255;
const DOMAIN = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}$/;

/**
 * `[domain/]path[:tag][@digest]`, as the OCI distribution specification writes it. Whether the image
 * exists is for the host that pulls it to find out.
 */
export function checkImageReference(image: string): void {
  if (image === '') throw invalid('ContainerSpec: image reference must be provided');
  if (image.length > MAX_LENGTH || !isReference(image)) {
    throw invalid(`ContainerSpec: "${image.slice(0, MAX_LENGTH)}" is not a valid repository/tag`);
  }
}

function isReference(image: string): boolean {
  const [named = '', digest, ...more] = image.split('@');
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return false;
  const lastSlash = named.lastIndexOf('/');
  const colon = named.indexOf(':', lastSlash + 1); // before the last slash it is a port
  const name = colon < 0 ? named : named.slice(0, colon);
  if (colon >= 0 && !TAG.test(named.slice(colon + 1))) return false;
  if (name.length > MAX_NAME_LENGTH) return false;
  const parts = name.split('/');
  const [first = ''] = parts;
  // Docker's rule: the first part is a host when it looks like one.
  const hasDomain = parts.length > 1 && (/[.:[]/.test(first) || first === 'localhost');
  if (hasDomain && !DOMAIN.test(first)) return false;
  return (hasDomain ? parts.slice(1) : parts).every((part) => COMPONENT.test(part));
}
