import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));
const STRIPPER = 'NativeModule internal/deps/amaro/dist/index';

/** A checkout of one program, and the flags its copy without types is run with. */
function checkout(t: ExecutionContext, sources: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'shoal-strip-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const name of ['strip.ts', 'compact.ts', 'load.ts'])
    cpSync(join(DEPLOY, name), join(root, 'deploy', name));
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  for (const [name, text] of Object.entries(sources)) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  const copy = join(root, 'node_modules/.cache/shoal/sources');
  const strip = () =>
    execFileSync(process.execPath, [join(root, 'deploy/strip.ts'), copy], { stdio: 'pipe' });
  const run = (program: string) =>
    spawnSync(process.execPath, ['--import', join(copy, 'load.mjs'), join(root, program)], {
      encoding: 'utf8',
    });
  return { copy, strip, run };
}

test('a program and its worker run from the copy, and neither strips types itself', (t) => {
  const { strip, run } = checkout(t, {
    'shared/name.ts': 'export const name = (of: string): string => of.concat(`  \n`);\n',
    'agent/worker.ts': `import { name } from '../shared/name.ts';
process.stdout.write(name(String(process.moduleLoadList.includes('${STRIPPER}'))));\n`,
    'agent/main.ts': `import { Worker } from 'node:worker_threads';
import './worker.ts';
new Worker(new URL('./worker.ts', import.meta.url));\n`,
  });
  strip();
  const { stdout, stderr } = run('agent/main.ts');
  t.is(stdout, 'false  \nfalse  \n', stderr);
});

test('an error in the copy is told at the line and column of its source', (t) => {
  const { strip, run } = checkout(t, {
    'agent/main.ts': `type Unused = Readonly<{
  a: number;
}>;
const fail = (why: string): never => { throw new Error(why); };
fail('here');\n`,
  });
  strip();
  t.regex(run('agent/main.ts').stderr, /agent\/main\.ts:4:46/);
});

test('a source that is no TypeScript fails the making of the copy', (t) => {
  const { strip, copy } = checkout(t, { 'agent/main.ts': 'const const: = 1;\n' });
  t.throws(strip);
  t.false(existsSync(join(copy, 'agent/main.ts')));
});
