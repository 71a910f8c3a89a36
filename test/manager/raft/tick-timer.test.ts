import test from 'ava';
import { TickTimer } from '../../../manager/raft/tick-timer.ts';

const TICK_MS = 100;

/** A clock whose timers fire late when nothing lets them. */
class World {
  nowMs = 0;
  #due: { atMs: number; fn: () => void } | undefined;
  readonly events: string[] = [];
  readonly timer = new TickTimer(
    {
      now: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      after: (delayMs, fn) => {
        const timer = { atMs: this.nowMs + delayMs, fn };
        this.#due = timer;
        return {
          cancel: () => {
            if (this.#due === timer) this.#due = undefined;
          },
        };
      },
    },
    TICK_MS,
    {
      tick: () => this.events.push(`tick ${this.nowMs}`),
      stalled: () => this.events.push(`stalled ${this.nowMs}`),
    },
  );
  /** Time passes, and timers fire after that, at once. */
  pass(ms: number): void {
    this.nowMs += ms;
    for (let due = this.#due; due !== undefined && due.atMs <= this.nowMs; due = this.#due) {
      this.#due = undefined;
      due.fn();
    }
  }
}

test('ticks lie on a grid: one that is a little late does not delay those after it', (t) => {
  const world = new World();
  world.timer.start();
  for (const ms of [100, 110, 90, 100]) world.pass(ms);
  t.deepEqual(world.events, ['tick 100', 'tick 210', 'tick 300', 'tick 400']);
});

test('ticks that were missed are not made up for, and the process that stood still is told so first', (t) => {
  const world = new World();
  world.timer.start();
  world.pass(100);
  world.pass(1_050);
  t.deepEqual(world.events, ['tick 100', 'stalled 1150', 'tick 1150']);
  world.pass(99);
  t.is(world.events.length, 3);
  world.pass(1);
  t.is(world.events.at(-1), 'tick 1250');
});

test('what comes in after a pause hears of it before the next tick does', (t) => {
  const world = new World();
  world.timer.start();
  world.nowMs = 120;
  world.timer.noteStall();
  t.deepEqual(world.events, [], 'late by less than a lease has to spare');
  world.nowMs = 130;
  world.timer.noteStall();
  t.deepEqual(world.events, ['stalled 130']);
});

test('after its end nothing ticks', (t) => {
  const world = new World();
  world.timer.start();
  world.timer.stop();
  world.pass(1_000);
  t.deepEqual(world.events, []);
});
