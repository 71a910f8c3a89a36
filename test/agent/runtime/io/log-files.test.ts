// The log helper and the reader of its files, with pipes in place of a container.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { readLogFiles } from '../../../../agent/runtime/io/log-files.ts';

const ALL = { stdout: true, stderr: true, follow: false, tail: -1, sinceMs: 0, untilMs: 0 };
const HELPERS = mkdtempSync(join(tmpdir(), 'shoal-helper-'));
execFileSync('sh', ['agent/runtime/logger/build.sh', HELPERS]);
test.after.always(() => rmSync(HELPERS, { recursive: true }));

type Logger = {
  folder: string;
  out: Writable;
  err: Writable;
  child: ChildProcess;
  /** Closes both streams and waits for the helper to end. */
  end: () => Promise<number | null>;
};

async function logger(
  t: ExecutionContext,
  maxBytes: number,
  maxFiles: number,
  command = join(HELPERS, 'shoal-logger'),
): Promise<Logger> {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-log-'));
  const value = `${maxBytes},${maxFiles},${folder}`;
  const child = spawn(command, ['to', value], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe', 'pipe'],
    env: { CONTAINER_ID: 'x' },
  });
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  t.teardown(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  const [, , , out, err, ready] = child.stdio as unknown as Readable[];
  // containerd waits for this before it goes on.
  await new Promise((done) => ready?.once('close', done).resume());
  const streams = { out: out as unknown as Writable, err: err as unknown as Writable };
  const end = () => {
    streams.out.end();
    streams.err.end();
    return ended;
  };
  return { folder, ...streams, child, end };
}

async function read(folder: string, query: Partial<typeof ALL> = {}): Promise<string[]> {
  const lines: string[] = [];
  const signal = new AbortController().signal;
  for await (const line of readLogFiles(folder, { ...ALL, ...query }, () => true, signal)) {
    lines.push(`${line.stream}${line.partial ? 'P' : 'F'}${Buffer.from(line.data)}`);
  }
  return lines;
}

/** Waits until the helper has written a line. */
async function until(folder: string, line: string): Promise<void> {
  while ((await read(folder, { tail: 1 })).at(-1) !== line) {
    await new Promise((done) => setTimeout(done, 2));
  }
}

test('lines get their time and stream; what does not end with a newline is kept too', async (t) => {
  const { folder, out, err, end } = await logger(t, 0, 1);
  out.write('one\ntwo\n\nth');
  err.write('bad\n');
  out.write('ree');
  t.is(await end(), 0);
  const lines = await read(folder);
  t.deepEqual(
    lines.filter((line) => line.startsWith('1')),
    ['1Fone', '1Ftwo', '1F', '1Fthree'],
  );
  t.deepEqual(
    lines.filter((line) => line.startsWith('2')),
    ['2Fbad'],
  );
  const [first = ''] = readFileSync(join(folder, 'log'), 'utf8').split('\n');
  t.regex(first, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z std(out|err) F /);
});

test('a long line comes in parts of 16 KiB that add up', async (t) => {
  const { folder, out, end } = await logger(t, 0, 1);
  const long = 'x'.repeat(16384 * 2 + 10);
  out.write(`${long}\nshort\n`);
  await end();
  const lines = await read(folder);
  t.deepEqual(
    lines.map((line) => [line.slice(0, 2), line.length - 2]),
    [
      ['1P', 16384],
      ['1P', 16384],
      ['1F', 10],
      ['1F', 5],
    ],
  );
});

test('files are rotated by size, the oldest go, and tail reads across them', async (t) => {
  const { folder, out, end } = await logger(t, 2000, 3);
  for (let n = 0; n < 200; n += 1) {
    out.write(`line ${n}\n`);
    // What lies ready is written at once: never so much that a file goes far beyond its size.
    if (n % 10 === 9) await until(folder, `1Fline ${n}`);
  }
  await end();
  t.deepEqual(readdirSync(folder).sort(), ['log', 'log.1', 'log.2']);
  for (const name of ['log.1', 'log.2']) {
    const { size } = statSync(join(folder, name));
    t.true(size >= 2000 && size < 4000, `${name}: ${size}`);
  }
  const all = await read(folder);
  t.is(all.at(-1), '1Fline 199');
  t.true(all.length < 200);
  for (const tail of [0, 1, 5, 60, 100, 1000]) {
    t.deepEqual(await read(folder, { tail }), tail === 0 ? [] : all.slice(-tail), `tail ${tail}`);
  }
});

test('the helper outlives SIGTERM until its streams end', async (t) => {
  const { folder, out, child, end } = await logger(t, 0, 1);
  child.kill('SIGTERM');
  await new Promise((done) => setTimeout(done, 50));
  out.write('still here\n');
  t.is(await end(), 0);
  t.deepEqual(await read(folder), ['1Fstill here']);
});

test('a follower sees lines as they come, through rotations, and ends after the last', async (t) => {
  const { folder, out, end } = await logger(t, 1500, 4);
  let over = false;
  const signal = new AbortController().signal;
  const seen: string[] = [];
  const following = (async () => {
    const query = { ...ALL, follow: true };
    for await (const { data } of readLogFiles(folder, query, () => over, signal)) {
      seen.push(`${Buffer.from(data)}`);
    }
  })();
  for (let n = 0; n < 120; n += 1) {
    out.write(`line ${n}\n`);
    await new Promise((done) => setTimeout(done, 4));
  }
  await end();
  over = true;
  await following;
  t.deepEqual(
    seen,
    Array.from({ length: 120 }, (_, n) => `line ${n}`),
  );
  t.true(readdirSync(folder).length > 2);
});

test('a follower ends with its signal, and times choose lines', async (t) => {
  const { folder, out, end } = await logger(t, 0, 1);
  out.write('early\n');
  await until(folder, '1Fearly');
  await new Promise((done) => setTimeout(done, 20));
  const between = Date.now();
  await new Promise((done) => setTimeout(done, 20));
  out.write('late\n');
  await end();
  t.deepEqual(await read(folder, { sinceMs: between }), ['1Flate']);
  t.deepEqual(await read(folder, { untilMs: between }), ['1Fearly']);
  t.deepEqual(await read(folder, { stdout: false }), []);
  const stop = new AbortController();
  const lines = readLogFiles(folder, { ...ALL, follow: true }, () => false, stop.signal);
  await lines.next();
  await lines.next();
  setTimeout(() => stop.abort(), 20);
  await t.throwsAsync(lines.next());
  t.deepEqual(await read(join(folder, 'missing')), []);
});

test('a full disk loses lines, never the container and never half a line', async (t) => {
  // A limit on the file's size stands in for the full disk: the write is cut short in the same way.
  const folder = mkdtempSync(join(tmpdir(), 'shoal-log-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const script = `trap '' XFSZ; ulimit -f 2; exec 5>/dev/null; (i=0; while [ $i -lt 300 ]; do echo "line $i"; i=$((i+1)); done) |
    ${join(HELPERS, 'shoal-logger')} to 0,1,${folder} 3<&0 4</dev/null`;
  execFileSync('bash', ['-c', script]);
  const text = readFileSync(join(folder, 'log'), 'utf8');
  t.true(text.length <= 2048 && text.length > 0, `${text.length} bytes`);
  t.true(text.endsWith('\n'));
  t.true((await read(folder)).every((line, n) => line === `1Fline ${n}`));
});

test('the shell helper writes the same lines where there is no compiler', async (t) => {
  const { folder, out, err, end } = await logger(
    t,
    3000,
    2,
    resolve('agent/runtime/logger/logger.sh'),
  );
  out.write('one\ntwo');
  err.write('bad\n');
  for (let n = 0; n < 60; n += 1) err.write(`line ${n}\n`);
  await end();
  const lines = await read(folder);
  t.true(lines.includes('2Fline 59'));
  t.true(lines.includes('1Ftwo'));
  t.true(readdirSync(folder).includes('log.1'));
});
