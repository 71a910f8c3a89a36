import test from 'ava';
import type { Container, Runtime } from '../../../agent/runtime/types.ts';
import { stopContainer } from '../../../agent/task/stop-container.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { FakeRuntime, stateOf } from './fakes.ts';

for (const [stopSignal, ofImage, expected] of [
  ['SIGINT', 'SIGHUP', 2],
  ['', 'SIGHUP', 1],
  ['', 'SIGNOTHING', 15],
  ['', '', 15],
] as const) {
  const title = `stopContainer() sends ${expected} for "${stopSignal}" and the image's "${ofImage}"`;
  test(title, async (t) => {
    const runtime = new FakeRuntime();
    runtime.diesOf = new Set([expected]);
    const config = { id: 'c', stopSignal: ofImage, stopGraceMs: 1_000 } as Container['config'];
    runtime.put({ config, state: stateOf('running') });
    const deps = {
      runtime: runtime as unknown as Runtime,
      clock: new ManualClock(),
      log: silentLog,
    };
    const exit = runtime.wait('c');
    await stopContainer(deps, { containerId: 'c', stopSignal, exit });
    t.deepEqual(runtime.log, [`kill ${expected}`]);
  });
}
