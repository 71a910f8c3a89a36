import test from 'ava';
import { EvictionLimiter } from '../../../manager/orchestrator/eviction.ts';

const NOW = 1_000_000;
const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);

test('tasks of a few nodes that go down are replaced at once', (t) => {
  const limiter = new EvictionLimiter();
  limiter.wentDown(['n0', 'n1'], NOW, 4);
  t.true(limiter.mayReplaceAtMs('n0') <= NOW);
  t.true(limiter.mayReplaceAtMs('n1') <= NOW);
  t.is(limiter.downSinceMs('n0'), NOW);
});

test('two of three hosts are no mass: there is nobody to spare them for', (t) => {
  const limiter = new EvictionLimiter();
  limiter.wentDown(['n0', 'n1'], NOW, 3);
  t.true(limiter.mayReplaceAtMs('n1') <= NOW);
});

test('when most nodes go down together, one is given up each ten seconds', (t) => {
  const limiter = new EvictionLimiter();
  limiter.wentDown(names(6), NOW, 10);
  t.deepEqual(
    names(6).map((id) => limiter.mayReplaceAtMs(id) - NOW),
    [0, 10_000, 20_000, 30_000, 40_000, 50_000],
  );
  limiter.wentDown(['n6'], NOW + 1000, 10);
  t.is(limiter.mayReplaceAtMs('n6') - NOW, 60_000);
});

test('nodes that went down long ago do not hold back those that go down now', (t) => {
  const limiter = new EvictionLimiter();
  limiter.wentDown(names(5), NOW - 300_000, 10);
  limiter.wentDown(['n5'], NOW, 10);
  t.true(limiter.mayReplaceAtMs('n5') <= NOW);
});

test('when enough are back, the rest waits no longer', (t) => {
  const limiter = new EvictionLimiter();
  limiter.wentDown(names(6), NOW, 10);
  t.deepEqual(limiter.cameBack('n5', NOW + 2000, 10), ['n1', 'n2', 'n3', 'n4']);
  t.is(limiter.downSinceMs('n5'), undefined);
  t.true(limiter.mayReplaceAtMs('n5') < NOW);
  t.is(limiter.mayReplaceAtMs('n4'), NOW + 2000);
  t.deepEqual(limiter.cameBack('n9', NOW, 10), [], 'it was not down');
});
