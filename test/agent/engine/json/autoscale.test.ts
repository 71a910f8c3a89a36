import test from 'ava';
import fc from 'fast-check';
import { autoscaleSpec } from '../../../../agent/engine/json/autoscale.ts';
import { serviceSpec } from '../../../../agent/engine/json/service.ts';
import { anyAutoscale } from '../../../support/autoscale.ts';

test('how a service is scaled survives the way to a client and back whole', (t) => {
  fc.assert(
    fc.property(anyAutoscale, (given) => {
      const wire: unknown = JSON.parse(JSON.stringify(autoscaleSpec.encode(given)));
      t.deepEqual(autoscaleSpec.decode(wire, 'Autoscale'), given);
    }),
    { numRuns: 300 },
  );
});

test('it is a field of the service’s spec, in the manner of Docker’s', (t) => {
  const sent = {
    Name: 'web',
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: 'web:1' }, ForceUpdate: 0 },
    Mode: { Replicated: { Replicas: 2 } },
    Autoscale: {
      Min: 0,
      Max: 20,
      Metrics: [
        { CPU: { Utilization: 0.7 } },
        { Requests: { PerReplica: 200 } },
        {
          Name: 'mails',
          RedisList: {
            Address: 'redis:6379',
            Key: 'mails',
            Auth: { PasswordSecret: 'redis' },
            PerReplica: 5,
          },
        },
      ],
      Up: {
        Stabilize: 0,
        Policies: [
          { Tasks: 4, Period: 15e9 },
          { Share: 1, Period: 15e9 },
        ],
      },
      Schedules: [{ Cron: '0 8 * * 1-5', For: 36e12, Min: 5, Timezone: 'Europe/Paris' }],
    },
  };
  const decoded = serviceSpec.decode(sent, '');
  t.is(decoded.autoscale?.metrics[2]?.kind?.$case, 'redisList');
  t.deepEqual((serviceSpec.encode(decoded) as typeof sent).Autoscale, sent.Autoscale);
});

for (const [json, message] of [
  [{ Maximum: 3 }, /^Autoscale\.Maximum is unknown: expected .*Max/],
  [{ Metrics: [{ CPU: {}, Memory: {} }] }, /^Autoscale\.Metrics\[0\] must be of one kind/],
  [{ Metrics: [{ CPU: { Target: 3 } }] }, /^Autoscale\.Metrics\[0\]\.CPU\.Target is unknown/],
  [
    { Up: { Policies: [{ Tasks: 1, Share: 1 }] } },
    /^Autoscale\.Up\.Policies\[0\] must have Tasks or/,
  ],
  [{ Min: '1' }, /Autoscale\.Min must be a whole number/],
  [[], /Autoscale must be an object/],
] as const) {
  test(`a slip is refused by the name of the field: ${JSON.stringify(json)}`, (t) => {
    t.throws(() => autoscaleSpec.decode(json, 'Autoscale'), { message });
  });
}
