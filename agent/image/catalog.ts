import { ShoalError } from '../../shared/errors.ts';
import {
  familiarFull,
  familiarName,
  familiarRepository,
  parseReference,
  type Reference,
} from './reference.ts';

/** A name of containerd's and the image it leads to. */
export type NamedImage = Readonly<{
  name: string;
  targetDigest: string;
  imageId: string;
  /** It came from the registry of its name: then name@digest names it too. */
  pulled: boolean;
}>;

/** Marks the name as one that a registry answers for. */
export const PULLED_LABEL = 'shoal.pulled';
const DANGLING = 'dangling@';

/** Keeps an image that lost its last name, for as long as its containers or the user want it. */
export function danglingName(targetDigest: string): string {
  return `${DANGLING}${targetDigest}`;
}

export function isDangling(name: string): boolean {
  return name.startsWith(DANGLING);
}

export type Names = Readonly<{ tags: readonly string[]; repoDigests: readonly string[] }>;

/** All names of an image as `docker images` shows them. */
export function namesOf(imageId: string, all: readonly NamedImage[]): Names {
  const tags = new Set<string>();
  const repoDigests = new Set<string>();
  for (const { name, imageId: id, targetDigest, pulled } of all) {
    if (id !== imageId || isDangling(name)) continue;
    const reference = parseReference(name);
    if (reference.digest === undefined) tags.add(familiarName(reference));
    if (reference.digest !== undefined || pulled) {
      repoDigests.add(`${familiarRepository(reference)}@${targetDigest}`);
    }
  }
  return { tags: [...tags].sort(), repoDigests: [...repoDigests].sort() };
}

/**
 * The image that a name, a digest, an id or the beginning of an id means; undefined when there is none.
 * Names win over ids. Throws `invalid-argument` when several ids begin so.
 */
export function findImage(nameOrId: string, all: readonly NamedImage[]): NamedImage | undefined {
  const id = nameOrId.startsWith('sha256:') ? nameOrId.slice('sha256:'.length) : nameOrId;
  const byId = (prefix: string) => all.filter(({ imageId }) => imageId.startsWith(prefix));
  if (/^[0-9a-f]{64}$/.test(id)) return byId(`sha256:${id}`)[0];
  const named = nameOrId.startsWith('sha256:') ? undefined : findNamed(nameOrId, all);
  if (named !== undefined || !/^[0-9a-f]+$/.test(id)) return named;
  const found = byId(`sha256:${id}`);
  if (new Set(found.map(({ imageId }) => imageId)).size > 1) {
    throw new ShoalError('invalid-argument', `multiple IDs found with provided prefix: ${id}`);
  }
  return found[0];
}

function findNamed(raw: string, all: readonly NamedImage[]): NamedImage | undefined {
  const wanted = parseReference(raw);
  return all.find(({ name, targetDigest }) => {
    if (isDangling(name)) return false;
    const reference = parseReference(name);
    if (reference.domain !== wanted.domain || reference.path !== wanted.path) return false;
    // With a digest that and no other; the tag beside it says nothing.
    if (wanted.digest !== undefined) return targetDigest === wanted.digest;
    return reference.digest === undefined && reference.tag === (wanted.tag ?? 'latest');
  });
}

/** "No such image: x:tag", as the docker CLI and `docker service ps` show it. */
export function noSuchImage(nameOrId: string, cause?: unknown): ShoalError {
  return new ShoalError('not-found', `No such image: ${shownName(nameOrId)}`, { cause });
}

function shownName(nameOrId: string): string {
  if (nameOrId.startsWith('sha256:') || /^[0-9a-f]{64}$/.test(nameOrId)) return nameOrId;
  try {
    return familiarFull(parseReference(nameOrId));
  } catch {
    return nameOrId;
  }
}

/** What removing a name (or an id) comes to. */
export type Removal = Readonly<{
  /** Names to take away. */
  names: readonly string[];
  /** As they are told to the user. */
  untagged: readonly string[];
  /** The image itself goes; else it stays under its other names, or as a dangling one. */
  deletes: boolean;
  keepDangling: boolean;
}>;

/**
 * Docker's rules for `docker rmi`. `container`: one that uses the image. Throws `failed-precondition` with
 * Docker's words for what needs `force`, or is refused even then.
 */
export function planRemoval(
  nameOrId: string,
  found: NamedImage,
  all: readonly NamedImage[],
  options: Readonly<{ force: boolean; container: string | undefined }>,
): Removal {
  const { force, container } = options;
  const own = all.filter(({ imageId }) => imageId === found.imageId);
  const short = found.imageId.slice('sha256:'.length, 'sha256:'.length + 12);
  const byName = isReferenceTo(nameOrId, found);
  if (byName) {
    const others = own.filter(({ name }) => name !== found.name);
    const { digest } = parseReference(found.name);
    const untagged = [familiarName(parseReference(found.name))];
    // A name by digest does not keep an image alone: it goes with the last tag of its repository.
    const tagsLeft = others.filter(({ name }) => !isDangling(name));
    if (tagsLeft.length > 0) {
      return { names: [found.name], untagged, deletes: false, keepDangling: false };
    }
    if (container !== undefined && !force) {
      throw conflict(
        `unable to remove repository reference "${nameOrId}" (must force) - container ${container.slice(0, 12)} is using its referenced image ${short}`,
      );
    }
    if (digest === undefined && found.pulled) {
      untagged.push(`${familiarRepository(parseReference(found.name))}@${found.targetDigest}`);
    }
    const inUse = container !== undefined;
    return {
      names: own.map(({ name }) => name).filter((name) => !(inUse && isDangling(name))),
      untagged,
      deletes: !inUse,
      keepDangling: inUse,
    };
  }
  if (container !== undefined) {
    throw conflict(
      `unable to delete ${short} (cannot be forced) - image is being used by running container ${container.slice(0, 12)}`,
    );
  }
  const named = own.filter(({ name }) => !isDangling(name)).map(({ name }) => parseReference(name));
  const repositories = new Set(named.map(familiarRepository));
  if (!force && (repositories.size > 1 || tagsOf(named).length > 1)) {
    throw conflict(
      `unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    );
  }
  const { tags, repoDigests } = namesOf(found.imageId, all);
  return {
    names: own.map(({ name }) => name),
    untagged: [...tags, ...repoDigests],
    deletes: true,
    keepDangling: false,
  };
}

function isReferenceTo(nameOrId: string, found: NamedImage): boolean {
  if (isDangling(found.name) || nameOrId.startsWith('sha256:')) return false;
  if (/^[0-9a-f]{64}$/.test(nameOrId)) return false;
  return findNamed(nameOrId, [found]) !== undefined;
}

function tagsOf(references: readonly Reference[]): readonly Reference[] {
  return references.filter(({ digest }) => digest === undefined);
}

function conflict(message: string): ShoalError {
  return new ShoalError('failed-precondition', `conflict: ${message}`);
}
