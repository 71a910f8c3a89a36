import test from 'ava';
import { holdsConnections } from '../../../manager/autoscaler/scaling.ts';
import { AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { Service } from '../../../shared/gen/shoal/v1/objects.ts';

function scaled(autoscale: Parameters<typeof AutoscaleSpec.fromPartial>[0]): Service {
  const mode = { $case: 'replicated', value: { replicas: 1 } } as const;
  const spec = { name: 'web', mode, autoscale: AutoscaleSpec.fromPartial(autoscale) };
  return Service.fromPartial({ id: 'web', spec });
}

const ROWS: readonly [string, Parameters<typeof scaled>[0], boolean][] = [
  ['that may have no task', { min: 0, max: 5 }, true],
  ['that has one at least', { min: 1, max: 5 }, false],
  ['whose least is not given', { max: 5 }, false],
  [
    'that may have no task at night',
    { min: 1, max: 5, schedules: [{ cron: '0 22 * * *', min: 0 }] },
    true,
  ],
  ['that has more by day', { min: 1, max: 5, schedules: [{ cron: '0 8 * * *', min: 3 }] }, false],
  ['that is only told what it should be', { mode: 'recommend', min: 0, max: 5 }, false],
  ['that is not scaled', { mode: 'off', min: 0, max: 5 }, false],
];

for (const [which, autoscale, holds] of ROWS) {
  test(`connections to a service ${which} are ${holds ? 'held' : 'refused'}`, (t) => {
    t.is(holdsConnections(scaled(autoscale)), holds);
  });
}
