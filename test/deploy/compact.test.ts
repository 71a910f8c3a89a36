// Goal: what the daemons load is the program as it was written, without its comments.
import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@swc/core';
import test from 'ava';
import { compact } from '../../deploy/compact.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

test('comments and spaces at the end go, the rest stays where it was', (t) => {
  const source = `/** What it is.
 * And \`more.
 */
const one = 1;   
  // why
  const two = 'a // b'; // kept
/* whole */
const three = /\\/\\*x/;`;
  const compacted = `


const one = 1;

  const two = 'a // b'; // kept

const three = /\\/\\*x/;`;
  t.is(compact(source), compacted);
});

for (const [what, source] of [
  ['a template over several lines', 'const text = `\n// said\n`;'],
  ['a template that ends in one', 'const text = `\u0024{`\n// said\n`}`;'],
  ['a string that goes on', "const text = 'a\\\n// said';"],
  ['a comment that begins behind code', 'one(); /* here\n/* there */ two();'],
  ['code behind a comment', '/* why\n */ one();'],
] as const) {
  test(`${what}: the source is left as it is`, (t) => {
    t.is(compact(source), source);
  });
}

/** The program as a compiler prints it: nothing of how it was written is left. */
function printed(source: string): string {
  const minify = { compress: false, mangle: false, format: { comments: false } } as const;
  const parser = { syntax: 'ecmascript', explicitResourceManagement: true } as const;
  return transformSync(source, {
    configFile: false,
    swcrc: false,
    isModule: true,
    minify: true,
    jsc: { target: 'esnext', parser, minify },
  }).code;
}

test("each of the daemons' sources is the same program, and a tenth shorter at least", (t) => {
  let before = 0;
  let after = 0;
  for (const name of globSync('{agent,manager,shared}/**/*.ts', { cwd: ROOT })) {
    const source = stripTypeScriptTypes(readFileSync(`${ROOT}/${name}`, 'utf8'));
    const compacted = compact(source);
    t.is(printed(compacted), printed(source), name);
    before += source.length;
    after += compacted.length;
  }
  t.true(after < before * 0.9, `${before} to ${after} characters`);
});
