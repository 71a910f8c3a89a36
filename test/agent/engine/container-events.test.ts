import test from 'ava';
import { publishHealth } from '../../../agent/engine/container-events.ts';
import { LocalEventBus } from '../../../agent/engine/events.ts';
import { matches } from '../../../agent/engine/routes/events.ts';
import type { Container } from '../../../agent/runtime/types.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock } from '../../support/manual-clock.ts';

test('a container that becomes healthy is told in Docker’s words, and found by Docker’s filter', async (t) => {
  const events = new LocalEventBus(new ManualClock());
  const config = { id: 'c'.repeat(64), name: 'web.1.x', image: 'web:1', labels: { a: 'b' } };
  const runtime = {
    get: async (id: string) =>
      id === config.id ? ({ config } as unknown as Container) : undefined,
  };
  await publishHealth({ runtime, events, log: silentLog }, config.id, 'unhealthy');
  await publishHealth({ runtime, events, log: silentLog }, 'gone', 'healthy');
  const [event, ...more] = events.past();
  t.deepEqual(more, []);
  t.like(event, {
    type: 'container',
    action: 'health_status: unhealthy',
    actorId: config.id,
    attributes: { a: 'b', image: 'web:1', name: 'web.1.x' },
  });
  const wanted = (action: string) => new Map([['event', [action]]]);
  if (event === undefined) return;
  t.true(matches(event, wanted('health_status')));
  t.false(matches(event, wanted('start')));
});
