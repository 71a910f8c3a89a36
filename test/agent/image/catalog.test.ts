import test from 'ava';
import {
  danglingName,
  findImage,
  type NamedImage,
  namesOf,
  planRemoval,
} from '../../../agent/image/catalog.ts';
import { SharedWork } from '../../../agent/image/shared-work.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const named = (name: string, image: string, pulled = false): NamedImage => ({
  name,
  targetDigest: digest(image === 'a' ? '1' : '2'),
  imageId: digest(image),
  pulled,
});
const ALL = [
  named('docker.io/library/web:1', 'a', true),
  named('docker.io/library/web:2', 'b'),
  named('reg.example/web:1', 'b'),
];
const IDLE = { force: false, container: undefined };

test('an image is found by name, digest, id and the beginning of its id', (t) => {
  t.is(findImage('web:1', ALL)?.imageId, digest('a'));
  t.is(findImage('docker.io/library/web:2', ALL)?.imageId, digest('b'));
  t.is(findImage(`web@${digest('1')}`, ALL)?.imageId, digest('a'));
  t.is(findImage(`web:whatever@${digest('2')}`, ALL)?.imageId, digest('b'));
  t.is(findImage(digest('b'), ALL)?.imageId, digest('b'));
  t.is(findImage('a'.repeat(64), ALL)?.imageId, digest('a'));
  t.is(findImage('aaaa', ALL)?.imageId, digest('a'));
  t.is(findImage('sha256:bbb', ALL)?.imageId, digest('b'));
  for (const unknown of ['web', 'web:3', 'other:1', `other@${digest('1')}`, 'cccc', digest('c')]) {
    t.is(findImage(unknown, ALL), undefined, unknown);
  }
  const alike = [...ALL, { ...named('x:1', 'a'), imageId: `sha256:ab${'0'.repeat(62)}` }];
  t.throws(() => findImage('a', alike), { message: /multiple IDs found with provided prefix: a/ });
});

test('names are shown in familiar form; only what was pulled has a digest', (t) => {
  t.deepEqual(namesOf(digest('a'), ALL), {
    tags: ['web:1'],
    repoDigests: [`web@${digest('1')}`],
  });
  t.deepEqual(namesOf(digest('b'), ALL), { tags: ['reg.example/web:1', 'web:2'], repoDigests: [] });
  const dangling = [named(danglingName(digest('1')), 'a')];
  t.deepEqual(namesOf(digest('a'), dangling), { tags: [], repoDigests: [] });
  t.is(findImage('aaa', dangling)?.imageId, digest('a'));
});

const plan = (
  name: string,
  all: readonly NamedImage[],
  options = IDLE as Parameters<typeof planRemoval>[3],
) => {
  const found = findImage(name, all);
  if (found === undefined) throw new Error(`${name} is not there`);
  return planRemoval(name, found, all, options);
};

test('one of several names is only taken away, even from an image in use', (t) => {
  const removal = plan('web:2', ALL, { force: false, container: 'c0ffee' });
  t.deepEqual(removal, {
    names: ['docker.io/library/web:2'],
    untagged: ['web:2'],
    deletes: false,
    keepDangling: false,
  });
});

test('the last name takes the image with it', (t) => {
  const removal = plan('web:1', ALL);
  t.true(removal.deletes);
  t.deepEqual(removal.untagged, ['web:1', `web@${digest('1')}`]);
});

test('an image in use needs force, and then stays without a name', (t) => {
  const container = 'c0ffee000000aaaa';
  t.throws(() => plan('web:1', ALL, { force: false, container }), {
    message:
      'conflict: unable to remove repository reference "web:1" (must force) - container c0ffee000000 is using its referenced image aaaaaaaaaaaa',
  });
  const forced = plan('web:1', ALL, { force: true, container });
  t.true(forced.keepDangling);
  t.false(forced.deletes);
});

test('by id: several repositories need force, use forbids it', (t) => {
  t.throws(() => plan('bbbb', ALL), {
    message: /unable to delete b{12} \(must be forced\) - image is referenced in multiple/,
  });
  const forced = plan('bbbb', ALL, { force: true, container: undefined });
  t.deepEqual(forced.untagged, ['reg.example/web:1', 'web:2']);
  t.is(forced.names.length, 2);
  t.throws(() => plan('aaaa', ALL, { force: true, container: 'c0ffee' }), {
    message: /cannot be forced\) - image is being used/,
  });
  t.true(plan('aaaa', ALL).deletes);
});

test('one pull serves all who want the image, until the last has lost interest', async (t) => {
  const work = new SharedWork<number>();
  let runs = 0;
  let given: AbortSignal | undefined;
  const gate = Promise.withResolvers<number>();
  const run = (signal: AbortSignal) =>
    work.run(
      'k',
      (shared) => {
        runs += 1;
        given = shared;
        shared.addEventListener('abort', () => gate.reject(shared.reason));
        return gate.promise;
      },
      signal,
    );
  const [a, b] = [new AbortController(), new AbortController()];
  const first = run(a.signal);
  const second = run(b.signal);
  t.is(runs, 1);
  a.abort(new Error('a left'));
  await t.throwsAsync(first, { message: 'a left' });
  t.false(given?.aborted);
  b.abort(new Error('b left'));
  await t.throwsAsync(second, { message: 'b left' });
  t.true(given?.aborted);
  gate.promise.catch(() => undefined);
  const fresh = work.run('k', async () => 7, new AbortController().signal);
  t.is(await fresh, 7);
});
