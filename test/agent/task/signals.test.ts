import test from 'ava';
import { signalNumber } from '../../../agent/task/signals.ts';

const TABLE: readonly [string, number][] = [
  ['SIGTERM', 15],
  ['term', 15],
  ['15', 15],
  ['SIGKILL', 9],
  ['HUP', 1],
  ['SIGUSR2', 12],
  ['WINCH', 28],
  ['SIGRTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMAX-1', 63],
];
for (const [text, expected] of TABLE) {
  test(`signalNumber() reads ${text} as ${expected}`, (t) => {
    t.is(signalNumber(text), expected);
  });
}
for (const text of ['', 'SIGNONE', '0', '65', 'RTMIN+99']) {
  test(`signalNumber() refuses "${text}"`, (t) => {
    t.throws(() => signalNumber(text), { message: `invalid signal: ${text}` });
  });
}
