import test from 'ava';
import {
  mergeEnv,
  withImageDefaults,
  withImageHealthcheck,
} from '../../../agent/runtime/image-defaults.ts';

const IMAGE = {
  env: ['A=image', 'B=image'],
  entrypoint: ['/entry'],
  cmd: ['default'],
  workingDir: '/srv',
  user: 'web',
  exposedPorts: [],
  volumes: [],
  labels: { a: 'image', b: 'image' },
  stopSignal: '',
  healthcheck: undefined,
};
const OPEN = {
  entrypoint: [],
  cmd: [],
  env: ['B=own'],
  workingDir: '',
  user: '',
  labels: { b: 'own' },
  stopSignal: '',
};

test('mergeEnv() lets later values win and names alone take away', (t) => {
  t.deepEqual(mergeEnv(['A=1', 'B=2', 'C=3'], ['B=x=y', 'C', 'D=']), ['A=1', 'B=x=y', 'D=']);
});

test('withImageDefaults() fills what is open', (t) => {
  t.deepEqual(withImageDefaults(OPEN, IMAGE), {
    entrypoint: ['/entry'],
    cmd: ['default'],
    env: ['A=image', 'B=own'],
    workingDir: '/srv',
    user: 'web',
    labels: { a: 'image', b: 'own' },
    stopSignal: 'SIGTERM',
  });
  const bare = { ...IMAGE, workingDir: '', stopSignal: 'SIGQUIT' };
  t.is(withImageDefaults(OPEN, bare).workingDir, '/');
  t.is(withImageDefaults(OPEN, bare).stopSignal, 'SIGQUIT');
});

test('an entrypoint of its own drops the command of the image', (t) => {
  const own = withImageDefaults({ ...OPEN, entrypoint: ['/own'] }, IMAGE);
  t.deepEqual([own.entrypoint, own.cmd], [['/own'], []]);
  const command = withImageDefaults({ ...OPEN, cmd: ['x'] }, IMAGE);
  t.deepEqual([command.entrypoint, command.cmd], [['/entry'], ['x']]);
});

test("a health check takes the image's test and times where it says none", (t) => {
  const image = {
    test: ['CMD', 'look'],
    intervalNs: 1,
    timeoutNs: 2,
    startPeriodNs: 3,
    startIntervalNs: 4,
    retries: 5,
  };
  const none = { ...image, test: [], intervalNs: 9, timeoutNs: 0, retries: 0 };
  t.deepEqual(withImageHealthcheck(none, image), { ...image, intervalNs: 9 });
  t.deepEqual(withImageHealthcheck(undefined, image), image);
  t.deepEqual(withImageHealthcheck({ ...none, test: ['NONE'] }, image)?.test, ['NONE']);
  t.is(withImageHealthcheck(undefined, undefined), undefined);
});
