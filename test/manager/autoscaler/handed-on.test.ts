// What is written of recommendations for the next leader: what it vouches for, and how often.
import test from 'ava';
import { handedOn, worthHandingOn } from '../../../manager/autoscaler/handed-on.ts';
import { memory, NOW, rec } from './support/ask.ts';

const at = (secondsAgo: number) => NOW - secondsAgo * 1000;
const recommended = (...recommendations: ReturnType<typeof rec>[]) => memory({ recommendations });

const rows: readonly [
  says: string,
  expected: 'now' | 'soon' | undefined,
  ceiling: number | undefined,
  writtenSecondsAgo: number,
  recommendations: ReturnType<typeof rec>[],
][] = [
  ['less was recommended for long enough', 'soon', undefined, 30, [rec(30, 4), rec(29, 3)]],
  ['not yet for long enough', undefined, undefined, 90, [rec(29, 4), rec(1, 3)]],
  ['written a moment ago', undefined, undefined, 29, [rec(40, 4), rec(1, 3)]],
  ['what is vouched for already', undefined, 3, 90, [rec(40, 4), rec(1, 3)]],
  ['less than that', 'soon', 3, 90, [rec(40, 3), rec(1, 2)]],
  ['less than that, written a moment ago', undefined, 3, 5, [rec(40, 3), rec(1, 2)]],
  ['more than that', 'now', 2, 0, [rec(40, 2), rec(0, 3)]],
  ['more than that, and more than there is', 'now', 2, 0, [rec(0, 9)]],
  ['the present count', undefined, undefined, 90, [rec(0, 4)]],
  ['more than there is', undefined, undefined, 90, [rec(0, 9)]],
  ['vouched for more than there is by now', 'soon', 7, 90, [rec(0, 3)]],
  ['vouched for more than there is by now, which is asked for', undefined, 7, 90, [rec(0, 4)]],
  ['nothing lately', undefined, 3, 90, [rec(31, 9)]],
  ['nothing at all', undefined, undefined, 90, []],
  ['written in the future', 'soon', undefined, -5, [rec(0, 3)]],
];

for (const [says, expected, ceiling, ago, recommendations] of rows) {
  test(`of four tasks: ${says}`, (t) => {
    const stored = memory(ceiling === undefined ? {} : { ceiling });
    const decided = memory({ recommendations });
    t.is(worthHandingOn({ memory: stored, atMs: at(ago) }, decided, 4, NOW), expected);
  });
}

test('what is written vouches for the most of half a minute, where that is less than there is', (t) => {
  t.is(handedOn(recommended(rec(31, 9), rec(20, 3), rec(0, 2)), 4, NOW).ceiling, 3);
  t.is(handedOn(recommended(rec(20, 4)), 4, NOW).ceiling, undefined);
  t.is(handedOn(recommended(rec(31, 3)), 4, NOW).ceiling, undefined);
});

test('nothing was ever written: less than there is may be vouched for', (t) => {
  const stored = { memory: undefined, atMs: 0 };
  t.is(worthHandingOn(stored, recommended(rec(0, 3)), 4, NOW), 'soon');
});
