import test from 'ava';
import fc from 'fast-check';
import { recall, remember, rememberEvent } from '../../../manager/autoscaler/memory.ts';
import { downLimit, upLimit } from '../../../manager/autoscaler/rates.ts';
import type { Recommendation, ScaleEvent } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { withAutoscaleDefaults } from '../../../shared/model/autoscale.ts';
import { memory, NOW, plain, rec, S, tasksIn } from './support/ask.ts';

const WINDOW_MS = 120_000;
/** What entries of one slot may be moved by. */
const SLOT_MS = Math.ceil(WINDOW_MS / 39);

function rulesOf(upSeconds: number, downSeconds: number) {
  return withAutoscaleDefaults(
    plain({
      up: { stabilizeNs: upSeconds * S, select: '', policies: [tasksIn(4, 120)] },
      down: { stabilizeNs: downSeconds * S, select: '', policies: [] },
    }),
  );
}

/** Long runs up and down, so that the lists grow beyond what is kept one by one. */
const walk = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 90 }), fc.integer({ min: -2, max: 2 })), {
    minLength: 1,
    maxLength: 8,
  })
  .map((legs) => {
    const counts: number[] = [300];
    for (const [length, slope] of legs) {
      for (let i = 0; i < length; i++) counts.push(Math.max(0, (counts.at(-1) ?? 0) + slope));
    }
    return counts;
  });

test('what is remembered holds as long as all recommendations would, and at most a slot longer', (t) => {
  const rules = rulesOf(120, 120);
  fc.assert(
    fc.property(walk, (counts) => {
      const all: Recommendation[] = [];
      let kept: Recommendation[] = [];
      for (const [second, replicas] of counts.entries()) {
        const added = { atMs: NOW + second * 1000, replicas };
        all.push(added);
        // The first is no gap in what was recommended.
        const known = recall(memory({ recommendations: kept }), rules, replicas, added.atMs);
        kept = remember(known.recommendations, added, rules);
        const within = (entries: readonly Recommendation[], forMs: number) =>
          entries.filter(({ atMs }) => added.atMs - atMs < forMs).map((entry) => entry.replicas);
        const held = within(kept, WINDOW_MS);
        const most = Math.max(...held);
        const least = Math.min(...held);
        t.true(most >= Math.max(...within(all, WINDOW_MS)));
        t.true(most <= Math.max(...within(all, WINDOW_MS + SLOT_MS)));
        t.true(least <= Math.min(...within(all, WINDOW_MS)));
        t.true(least >= Math.min(...within(all, WINDOW_MS + SLOT_MS)));
        t.true(kept.length <= 82, String(kept.length));
      }
    }),
    { numRuns: 60 },
  );
});

test('without a window upwards only what can hold a decrease is kept', (t) => {
  const kept = remember([rec(9, 3), rec(8, 7), rec(7, 5), rec(6, 5)], rec(0, 4), rulesOf(0, 120));
  t.deepEqual(kept, [rec(8, 7), rec(6, 5), rec(0, 4)]);
});

test('with a window upwards also what can hold an increase is kept', (t) => {
  const kept = remember([rec(9, 3), rec(8, 7), rec(7, 5), rec(6, 5)], rec(0, 4), rulesOf(60, 120));
  t.deepEqual(kept, [rec(9, 3), rec(8, 7), rec(6, 5), rec(0, 4)]);
});

test('many events leave no more room in a period than each of them would', (t) => {
  const rules = rulesOf(0, 120);
  const changes = fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 60, maxLength: 200 });
  fc.assert(
    fc.property(changes, fc.integer({ min: 1, max: 119 }), (found, period) => {
      const all: ScaleEvent[] = [];
      let kept: ScaleEvent[] = [];
      for (const [second, change] of found.entries()) {
        if (change === 0) continue;
        const added = { atMs: NOW + second * 1000, change };
        all.push(added);
        kept = rememberEvent(
          recall(memory({ events: kept }), rules, 1, added.atMs).events,
          added,
          rules,
        );
        t.true(kept.length <= 82, String(kept.length));
        for (const seconds of [120, period]) {
          const limits = { select: 'max', policies: [tasksIn(5, seconds)] };
          const allowed = (limit: typeof upLimit, events: readonly ScaleEvent[]) =>
            limit(limits, 1000, events, added.atMs);
          t.true(allowed(upLimit, kept) <= allowed(upLimit, all), `up in ${seconds} s`);
          t.true(allowed(downLimit, kept) >= allowed(downLimit, all), `down in ${seconds} s`);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('nothing is recalled from the future or from before every window', (t) => {
  const known = memory({
    recommendations: [rec(130, 9), rec(100, 5), rec(-60, 4)],
    events: [
      { atMs: NOW - 130_000, change: 2 },
      { atMs: NOW + 9000, change: 3 },
    ],
    activeAtMs: NOW + 5000,
    fastSinceMs: NOW + 5000,
    handSinceMs: NOW + 5000,
  });
  t.like(recall(known, rulesOf(0, 120), 7, NOW), {
    recommendations: [rec(100, 5), rec(0, 4)],
    events: [{ atMs: NOW, change: 3 }],
    activeAtMs: NOW,
    fastSinceMs: NOW,
    handSinceMs: NOW,
  });
});
