import test from 'ava';
import { signalNumber } from '../../../shared/model/signal.ts';

const TABLE: readonly [string, number][] = [
  ['SIGTERM', 15],
  ['term', 15],
  ['15', 15],
  ['SIGKILL', 9],
  ['HUP', 1],
  ['SIGUSR2', 12],
  ['WINCH', 28],
  ['SIGIOT', 6],
  ['CLD', 17],
  ['SIGPOLL', 29],
  ['SIGRTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMAX-1', 63],
];
for (const [text, expected] of TABLE) {
  test(`signalNumber() reads ${text} as ${expected}`, (t) => {
    t.is(signalNumber(text), expected);
  });
}
for (const text of ['', 'SIGNONE', '0', '65', '-1', '1e1', 'RTMIN+99', 'RTMIN+31', 'RTMAX+1']) {
  test(`signalNumber() knows no "${text}"`, (t) => {
    t.is(signalNumber(text), undefined);
  });
}
