import test from 'ava';
import {
  decodeConfig,
  decodeLife,
  encodeConfig,
  NEW_LIFE,
  restingState,
  startFailureCode,
} from '../../../agent/runtime/record.ts';
import { containerConfig } from '../../support/container-config.ts';

test('a configuration survives being stored; what is not ours is left out', (t) => {
  const config = containerConfig('true', { env: ['A=ä'] });
  t.deepEqual(decodeConfig(encodeConfig(config)), config);
  t.is(decodeConfig(undefined), undefined);
  t.is(decodeConfig(new TextEncoder().encode('{"id":1}')), undefined);
  t.is(decodeConfig(new TextEncoder().encode('nonsense')), undefined);
});

test('a torn life record is a container of which nothing is known', (t) => {
  t.deepEqual(decodeLife('{"startedAtMs":5,"exi'), NEW_LIFE);
  t.deepEqual(decodeLife(undefined), NEW_LIFE);
  t.deepEqual(decodeLife('{"startedAtMs":5}'), { ...NEW_LIFE, startedAtMs: 5 });
});

test('without a task a container was never started, or has ended', (t) => {
  t.is(restingState(NEW_LIFE).status, 'created');
  t.is(restingState({ ...NEW_LIFE, startedAtMs: 1 }).status, 'exited');
});

test('a start that failed has the code that a shell would give', (t) => {
  t.is(startFailureCode('exec: "/x": stat /x: no such file or directory'), 127);
  t.is(startFailureCode('exec: "x": executable file not found in $PATH'), 127);
  t.is(startFailureCode('exec: "/x": permission denied'), 126);
  t.is(startFailureCode('something else'), 128);
  t.is(startFailureCode('something else', 126), 126);
});
