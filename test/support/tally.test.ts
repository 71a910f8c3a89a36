import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { tallyOf } from './tally.ts';

const file = join(process.cwd(), 'test/x.test.ts');

test('each end of a test is one line, whatever its message holds', (t) => {
  t.deepEqual(
    tallyOf({
      type: 'test-passed',
      title: 'a',
      duration: 1,
      knownFailing: false,
      logs: [],
      testFile: file,
    }),
    ['ok test/x.test.ts: a'],
  );
  t.deepEqual(
    tallyOf({
      type: 'hook-failed',
      title: 'before hook',
      testFile: file,
      err: { message: 'one\n  two' },
    }),
    ['not ok test/x.test.ts: before hook: one two'],
  );
  const err = {
    message: '',
    formattedDetails: [
      { label: 'Value must match:', formatted: '\x1b[34m`not-found`\x1b[39m' },
      { label: 'Regular expression:', formatted: '/^ok/' },
    ],
    source: { line: 7 },
  };
  t.deepEqual(tallyOf({ type: 'hook-failed', title: 'a', testFile: file, err }), [
    'not ok test/x.test.ts: a: Value must match: `not-found` Regular expression: /^ok/ (line 7)',
  ]);
});

test('tests that were to come when their process went are failures by name', (t) => {
  const pendingTests = new Map([[file, new Set(['a', 'b'])]]);
  t.deepEqual(tallyOf({ type: 'process-exit', testFile: file, pendingTests }), [
    'not ok test/x.test.ts: a: called process.exit()',
    'not ok test/x.test.ts: b: called process.exit()',
  ]);
});

test('a file that dies, is empty or rejects is a failure', (t) => {
  for (const type of ['uncaught-exception', 'unhandled-rejection'] as const) {
    t.is(tallyOf({ type, testFile: file, err: { message: 'no' } }).length, 1);
  }
  t.is(tallyOf({ type: 'missing-ava-import', testFile: file }).length, 1);
  const died = { type: 'worker-failed' as const, signal: 'SIGKILL', testFile: file };
  t.deepEqual(tallyOf(died), ['not ok test/x.test.ts: the file: ended by SIGKILL']);
});

test('a test that hangs fails the run and is named', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-tally-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const tally = join(folder, 'tally');
  const failed = await new Promise<boolean>((resolve) => {
    const args = ['node_modules/ava/entrypoints/cli.js'];
    args.push('--config', 'test/support/fixtures/ava.config.js');
    const env = { ...process.env, SHOAL_TEST_TALLY: tally };
    execFile(process.execPath, args, { env }, (error) => resolve(error !== null));
  });
  t.true(failed);
  t.deepEqual((await readFile(tally, 'utf8')).trim().split('\n'), [
    'ok test/support/fixtures/hanging.ts: one that passes',
    'not ok test/support/fixtures/hanging.ts: one that never ends: did not end: no test did in 10000 ms',
    'end',
  ]);
});
