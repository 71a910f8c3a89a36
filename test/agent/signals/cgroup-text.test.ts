import test from 'ava';
import fc from 'fast-check';
import { parseKeyed, parseNetDev } from '../../../agent/runtime/cgroup.ts';
import { interfaceBytes, keyedNumber, wholeNumber } from '../../../agent/signals/cgroup-text.ts';

test('wholeNumber() reads a file of one number, and nothing out of others', (t) => {
  t.is(wholeNumber('1234567890123\n'), 1_234_567_890_123);
  t.is(wholeNumber('0\n'), 0);
  for (const text of ['', '\n', 'max\n', '-1\n']) t.is(wholeNumber(text), undefined);
});

test('keyedNumber() takes whole names only', (t) => {
  const text = 'total_inactive_file 5\ninactive_file_x 6\ninactive_file 7\nlast 8';
  t.is(keyedNumber(text, 'inactive_file'), 7);
  t.is(keyedNumber(text, 'total_inactive_file'), 5);
  t.is(keyedNumber(text, 'last'), 8);
  t.is(keyedNumber(text, 'file'), undefined);
  t.is(keyedNumber('', 'file'), undefined);
});

test('keyedNumber() finds what a parser of the whole file finds', (t) => {
  const name = fc.stringMatching(/^[a-z_]{1,12}$/);
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(name, fc.nat()), { selector: ([n]) => n }), (lines) => {
      const text = lines.map(([n, value]) => `${n} ${value}\n`).join('');
      return [...parseKeyed(text)].every(([n, value]) => keyedNumber(text, n) === value);
    }),
  );
  t.pass();
});

const HEAD = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`;

test('interfaceBytes() adds both ways of all interfaces but lo', (t) => {
  const line = (name: string, rx: number, tx: number) =>
    `${name.padStart(6)}:${String(rx).padStart(8)}  5 0 0 0 0 0 0 ${tx} 6 0 0 0 0 0 0\n`;
  const text = `${HEAD}${line('lo', 1_000, 1_000)}${line('eth0', 10, 20)}${line('eth1', 12_345_678_901, 3)}`;
  t.is(interfaceBytes(text), 30 + 12_345_678_904);
  const parsed = Object.values(parseNetDev(text));
  t.is(
    interfaceBytes(text),
    parsed.reduce((sum, { rxBytes, txBytes }) => sum + rxBytes + txBytes, 0),
  );
  t.is(interfaceBytes(HEAD), 0);
  t.is(interfaceBytes(''), undefined);
});
