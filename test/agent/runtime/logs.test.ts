import test from 'ava';
import fc from 'fast-check';
import {
  findTail,
  judgeLine,
  LineCutter,
  logFileNames,
  logTimeMs,
  parseLogLine,
} from '../../../agent/runtime/logs.ts';

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (value: string) => new TextEncoder().encode(value);
const AT = '2026-11-21T01:56:58.885364036Z';
const QUERY = { stdout: true, stderr: true, follow: false, tail: -1, sinceMs: 0, untilMs: 0 };

test('a line of the log helper is parsed, anything else is not', (t) => {
  const line = parseLogLine(bytes(`${AT} stderr P half a lin`));
  t.deepEqual(line && { ...line, data: text(line.data) }, {
    stream: 2,
    at: AT,
    data: 'half a lin',
    partial: true,
  });
  t.is(text(parseLogLine(bytes(`${AT} stdout F `))?.data ?? bytes('x')), '');
  for (const bad of [
    '',
    'x',
    `${AT} stdin F x`,
    `${AT} stdout Q x`,
    `${AT}stdout F xxxxxxxxxxxx`,
  ]) {
    t.is(parseLogLine(bytes(bad)), undefined, bad);
  }
});

test('times keep their fraction of a millisecond', (t) => {
  t.is(logTimeMs(AT), Date.parse('2026-11-21T01:56:58Z') + 885.364036);
});

test('lines are chosen by stream and time', (t) => {
  const line = { stream: 1 as const, at: AT, data: bytes(''), partial: false };
  const ms = logTimeMs(AT);
  t.is(judgeLine(line, QUERY), 'show');
  t.is(judgeLine(line, { ...QUERY, stdout: false }), 'skip');
  t.is(judgeLine(line, { ...QUERY, sinceMs: ms + 1 }), 'skip');
  t.is(judgeLine(line, { ...QUERY, sinceMs: ms }), 'show');
  t.is(judgeLine(line, { ...QUERY, untilMs: ms - 1 }), 'after');
});

test('however a text is cut into chunks, its lines come out whole', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 40 })), fc.array(fc.nat(20)), (parts, cuts) => {
      const whole = parts.map((part) => part.replaceAll('\n', '')).join('\n');
      const cutter = new LineCutter();
      const lines: string[] = [];
      let rest = bytes(`${whole}\n`);
      for (const cut of [...cuts, rest.length]) {
        lines.push(...cutter.push(rest.subarray(0, cut)).map(text));
        rest = rest.subarray(cut);
      }
      lines.push(...cutter.push(rest).map(text));
      t.deepEqual(lines, whole.split('\n'));
    }),
  );
});

test('findTail() finds where the last lines begin', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 8 })),
      fc.integer({ min: 1, max: 9 }),
      (parts, n) => {
        const lines = parts.map((part) => part.replaceAll('\n', ''));
        const block = bytes(lines.map((line) => `${line}\n`).join(''));
        const found = findTail(block, n, true);
        const expected = lines.slice(-n).map((line) => `${line}\n`);
        if ('start' in found) t.is(text(block.subarray(found.start)), expected.join(''));
        else t.true(lines.length <= n);
      },
    ),
  );
});

test('files are read from the oldest on', (t) => {
  t.deepEqual(logFileNames(['log', 'log.10', 'log.2', 'lock', 'log.x', 'log.1']), [
    'log.10',
    'log.2',
    'log.1',
    'log',
  ]);
});
