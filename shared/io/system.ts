import { randomFillSync } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Random } from '../random.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, fn) {
    const handle = setTimeout(fn, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** An id takes 16 bytes, and asking the kernel's generator for so few costs ten times their copying. */
const pool = new Uint8Array(4_096);
let poolAt = pool.length;

export const systemRandom: Random = {
  next: () => Math.random(),
  bytes(length) {
    if (length > pool.length / 8) return randomFillSync(new Uint8Array(length));
    if (poolAt + length > pool.length) {
      randomFillSync(pool);
      poolAt = 0;
    }
    const bytes = pool.slice(poolAt, poolAt + length);
    // What was handed out may become a secret: it must not lie here as well.
    pool.fill(0, poolAt, poolAt + length);
    poolAt += length;
    return bytes;
  },
};
