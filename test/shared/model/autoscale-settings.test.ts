import test from 'ava';
import fc from 'fast-check';
import type { AutoscaleMetric } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { parseSettings } from '../../../shared/model/autoscale-settings.ts';
import { metricKey, settingsOf } from '../../../shared/model/autoscale-settings-of.ts';
import { nearest } from '../../../shared/model/nearest.ts';
import { sensibleAutoscale } from '../../support/autoscale.ts';

test('a spec in words reads back as the same spec', (t) => {
  fc.assert(
    fc.property(sensibleAutoscale, (spec) => {
      const settings = settingsOf(spec);
      const result = parseSettings(settings);
      if (!result.ok) return t.fail(JSON.stringify([settings, result]));
      // Words are in one order, and number what has no name.
      const again = settingsOf(result.spec);
      t.deepEqual(again, settings);
      t.deepEqual(
        { ...result.spec, metrics: [], schedules: result.spec.schedules.length },
        { ...spec, metrics: [], schedules: spec.schedules.length },
      );
      const kinds = (metrics: readonly AutoscaleMetric[]) =>
        [...metrics].sort((a, b) => (a.name + a.kind?.$case < b.name + b.kind?.$case ? -1 : 1));
      t.deepEqual(kinds(result.spec.metrics), kinds(spec.metrics));
    }),
    { numRuns: 300 },
  );
});

test('no text makes the reader of settings throw', (t) => {
  const key = fc.oneof(
    fc.string(),
    fc.constantFrom('cpu', 'up.policies', 'redis-list.a.key', 'schedule.x.cron', 'memory'),
  );
  fc.assert(
    fc.property(fc.dictionary(key, fc.string(), { noNullPrototype: true }), (settings) => {
      const result = parseSettings(settings);
      t.true(result.ok || result.errors.every(({ message }) => message !== ''));
    }),
    { numRuns: 500 },
  );
});

test('metricKey() is the metric as its labels say it', (t) => {
  const target = { perReplica: 1, activation: 0 };
  const list = { address: 'a', key: 'k', database: 0, tls: false, sentinel: '', target };
  const metrics = [
    { name: '', kind: { $case: 'cpu' as const, value: {} } },
    { name: 'mails', kind: { $case: 'redisList' as const, value: list } },
    { name: '', kind: { $case: 'redisList' as const, value: list } },
  ];
  t.deepEqual(
    metrics.map((_, index) => metricKey(metrics, index)),
    ['cpu', 'redis-list.mails', 'redis-list.3'],
  );
});

test('nearest() finds what was meant, and nothing where nothing is near', (t) => {
  const known = ['max', 'min', 'cpu', 'cooldown-to-zero', 'tolerance'];
  const table = [
    ['maxx', 'max'],
    ['mx', 'max'],
    ['CPU', 'cpu'],
    ['cooldownToZero', 'cooldown-to-zero'],
    ['tolerence', 'tolerance'],
    ['foo', undefined],
    ['', undefined],
  ] as const;
  for (const [given, meant] of table) t.is(nearest(given, known), meant, given);
});
