import test from 'ava';
import { clusterVersions } from '../../manager/cluster-versions.ts';
import { Store } from '../../manager/store/store.ts';
import { createAction, updateAction } from '../../manager/store/tables.ts';
import { ShoalError } from '../../shared/errors.ts';
import { Cluster } from '../../shared/gen/shoal/v1/objects.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { secretFixture } from '../support/objects.ts';
import { applyDirect } from '../support/store.ts';

const keyed = (fill: number) =>
  Cluster.fromPartial({ id: 'c'.repeat(25), spec: {}, unlockKey: Buffer.alloc(32, fill) });
const changed = (store: Store, fill: number) => ({
  ...(store.cluster() ?? keyed(0)),
  unlockKey: Buffer.alloc(32, fill),
});

test('what this replica holds before it has caught up is not believed', async (t) => {
  const store = new Store();
  const clock = new ManualClock();
  let hasLeader = false;
  const ending = new AbortController();
  const consensus = {
    readBarrier: async () => {
      if (!hasLeader) throw new ShoalError('unavailable', 'no leader');
      return 1;
    },
  };
  applyDirect(store, [createAction('cluster', keyed(1))]);
  const seen: (number | undefined)[] = [];
  const reading = (async () => {
    for await (const { unlockKey } of clusterVersions({ store, consensus, clock }, ending.signal)) {
      seen.push(unlockKey[0]);
    }
  })();
  await settle();
  t.deepEqual(seen, []);
  applyDirect(store, [updateAction('cluster', changed(store, 2))]);
  hasLeader = true;
  await clock.advance(1_000);
  await settle();
  t.deepEqual(seen, [2]);
  applyDirect(store, [createAction('secret', secretFixture())]);
  await settle();
  t.deepEqual(seen, [2], 'other changes are none of it');
  applyDirect(store, [updateAction('cluster', changed(store, 3))]);
  await settle();
  t.deepEqual(seen, [2, 3]);
  ending.abort();
  await reading;
});
