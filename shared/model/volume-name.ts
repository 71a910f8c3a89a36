const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const LONGEST_NAME = 200; // a directory's name ends at 255 bytes

/** What passes is one part of a path that no `..` hides in. */
export function isVolumeName(name: string): boolean {
  return name.length <= LONGEST_NAME && NAME.test(name);
}
