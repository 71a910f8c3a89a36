import test from 'ava';
import type { Knocking } from '../../../agent/network/types.ts';
import { fresh, KnockWatch } from '../../../agent/signals/knock-watch.ts';
import type { Knock } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';

const knocking = (key: string, total: number, serviceId = 'web'): Knocking => ({
  key,
  serviceId,
  total,
});

test('fresh() adds up the tries of a service since the last look', (t) => {
  const before = new Map([
    ['a', 3],
    ['b', 1],
  ]);
  const { knocks, totals } = fresh(before, [
    knocking('a', 5),
    knocking('b', 1),
    knocking('c', 2),
    knocking('d', 0, 'db'),
  ]);
  t.deepEqual(knocks, [{ serviceId: 'web', connections: 4 }]);
  t.deepEqual(Object.fromEntries(totals), { a: 5, b: 1, c: 2, d: 0 });
});

test('fresh() counts a total that began anew whole', (t) => {
  t.deepEqual(fresh(new Map([['a', 9]]), [knocking('a', 2)]).knocks, [
    { serviceId: 'web', connections: 2 },
  ]);
});

function setUp() {
  const clock = new ManualClock();
  const sent: Knock[] = [];
  const meter = {
    isHolding: false,
    found: [] as Knocking[],
    looks: 0,
    async knocks() {
      meter.looks += 1;
      return meter.found;
    },
  };
  const send = ({ knocks }: { knocks: Knock[] }) => sent.push(...knocks);
  const watch = new KnockWatch({ meter, send, clock, log: silentLog });
  return { clock, sent, meter, watch };
}

test('nobody looks while nothing is held', async (t) => {
  const { clock, meter, watch } = setUp();
  watch.refresh();
  await clock.advance(10_000);
  t.is(meter.looks, 0);
  t.is(clock.timers, 0);
});

test('a try is told within 200 ms, once, and the looking ends with the holding', async (t) => {
  const { clock, sent, meter, watch } = setUp();
  meter.isHolding = true;
  watch.refresh();
  watch.refresh();
  await settle();
  t.is(meter.looks, 1, 'one at a time');
  meter.found = [knocking('tcp . 80', 1)];
  await clock.advance(200);
  t.deepEqual(sent, [{ serviceId: 'web', connections: 1 }]);
  await clock.advance(500);
  t.is(sent.length, 1);
  meter.found = [knocking('tcp . 80', 2)];
  await clock.advance(200);
  t.is(sent.length, 2);
  meter.isHolding = false;
  await clock.advance(400);
  t.is(clock.timers, 0);
  // Held again: the kernel's element is another one.
  meter.isHolding = true;
  meter.found = [knocking('tcp . 80', 2)];
  watch.refresh();
  await settle();
  t.is(sent.length, 3);
  await watch.close();
  t.is(clock.timers, 0);
});
