/**
 * Goal: a refusal is as true as a read. Method: a replica that is behind until it is asked to catch up, as a
 * leader's is while a follower has shown its clients what was committed.
 */
import test from 'ava';
import { updateAction } from '../../../manager/store/tables.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { controlFixture } from '../../support/control.ts';

/** A config, and a change of it that is applied only by the next read barrier. */
async function behind() {
  const fixture = await controlFixture();
  const { consensus, createFile, store, writer } = fixture;
  const id = await createFile('config', 'conf');
  const before = store.get('config', id);
  if (before?.spec === undefined) throw new Error('no config');
  const { spec } = before;
  let isBehind = true;
  consensus.readBarrier = async () => {
    if (isBehind) {
      isBehind = false;
      const changed = { ...before, spec: { ...spec, labels: { x: '1' } } };
      await writer.write([updateAction('config', changed)]);
    }
    return store.index;
  };
  return { ...fixture, id, seenVersion: store.index + 1 };
}

test('an update of a version that is not applied here yet is carried out', async (t) => {
  const { id, seenVersion, store, updateObject } = await behind();
  await updateObject('config', id, seenVersion, { spec: { name: 'conf', labels: { x: '2' } } });
  t.deepEqual(store.get('config', id)?.spec?.labels, { x: '2' });
});

test('an update of an old version stays refused', async (t) => {
  const { id, seenVersion, store, updateObject } = await behind();
  const update = updateObject('config', id, seenVersion - 2, { spec: { name: 'conf' } });
  const error = await t.throwsAsync(update, { message: 'update out of sequence' });
  t.true(isShoalError(error, 'out-of-sequence'));
  t.deepEqual(store.get('config', id)?.spec?.labels, { x: '1' });
});

test('what is removed here before it is known here is found', async (t) => {
  const { consensus, createFile, remove, store } = await controlFixture();
  let isBehind = true;
  consensus.readBarrier = async () => {
    if (isBehind) {
      isBehind = false;
      await createFile('config', 'new');
    }
    return store.index;
  };
  await remove('config', 'new');
  t.is(store.count('config'), 0);
});

test('a request that is wrong in any state asks nobody', async (t) => {
  const { consensus, createFile } = await controlFixture();
  await t.throwsAsync(createFile('config', 'a b'), { message: /^invalid name/ });
  t.is(consensus.barriers, 0);
});
