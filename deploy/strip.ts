/**
 * Writes the sources without their types to a folder: strip.ts FOLDER. The daemons start from that copy
 * (load.ts says why), nor comments; paths and line numbers stay those of the sources.
 */
import { globSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compact } from './compact.ts';

const [, , folder] = process.argv;
if (folder === undefined) throw new Error('usage: strip.ts FOLDER');
const root = fileURLToPath(new URL('..', import.meta.url));

function write(source: string, target: string): void {
  const text = compact(stripTypeScriptTypes(readFileSync(join(root, source), 'utf8')));
  mkdirSync(dirname(target), { recursive: true });
  // Others may be starting from the file that is there.
  writeFileSync(`${target}.new`, text);
  renameSync(`${target}.new`, target);
}

for (const source of globSync('{agent,manager,shared}/**/*.ts', { cwd: root })) {
  write(source, join(folder, source));
}
write('deploy/load.ts', join(folder, 'load.mjs'));
