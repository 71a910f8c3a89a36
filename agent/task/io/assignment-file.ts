import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Assignments } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import type { AssignmentFile } from '../manager.ts';

/** The assignments as one file, replaced whole. One that cannot be read counts as none: the managers send all again. */
export function assignmentFile(path: string): AssignmentFile {
  return {
    async load() {
      try {
        return Assignments.decode(await readFile(path));
      } catch {
        return undefined;
      }
    },
    async save(assignments) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(`${path}.tmp`, Assignments.encode(assignments).finish(), { mode: 0o600 });
      await rename(`${path}.tmp`, path);
    },
  };
}
