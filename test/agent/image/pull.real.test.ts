// Pulls into a private containerd from a registry in this process that can be told to misbehave.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import anyTest, { type TestFn } from 'ava';
import type { ContainerdImages } from '../../../agent/image/images.ts';
import type { ImageProgress } from '../../../agent/image/types.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { soon } from '../../support/container-host.ts';
import { TestContainerd } from '../../support/containerd.ts';
import { FakeRegistry, layer, refuse } from '../../support/fake-registry.ts';
import { freePort } from '../../support/ports.ts';

const test = anyTest as TestFn;
let daemon: TestContainerd;
let registry: FakeRegistry;
let images: ContainerdImages;
test.before(async () => {
  daemon = await TestContainerd.start();
  images = daemon.images();
});
test.beforeEach(async () => {
  registry = await new FakeRegistry().start();
});
test.afterEach.always(async () => {
  await registry.stop();
});
test.after.always('nothing is left', async (t) => {
  if (daemon !== undefined) t.deepEqual(await daemon.stop(), []);
});

const quiet = () => ({ onProgress: () => undefined, signal: soon() });
const refused = async (run: Promise<unknown>) => {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return isShoalError(error) ? `${error.code}: ${error.message}` : String(error);
};

test.serial('an image is pulled, unpacked, named, and told about as by docker pull', async (t) => {
  const layers = [await layer('a', 'one'), await layer('b', 'two')];
  const { digest } = registry.image('1', layers, { Env: ['A=1'], Cmd: ['/a'] });
  const name = `${registry.host}/team/web`;
  const told: ImageProgress[] = [];
  const image = await images.pull(`${name}:1`, {
    ...quiet(),
    onProgress: (line) => told.push(line),
  });
  t.deepEqual(image.tags, [`${name}:1`]);
  t.deepEqual(image.repoDigests, [`${name}@${digest}`]);
  t.deepEqual(image.config.env, ['A=1']);
  t.is(image.diffIds.length, 2);
  t.true(image.sizeBytes > 0);
  t.deepEqual(told[0], { id: '1', status: 'Pulling from team/web' });
  const statuses = told.map(({ status }) => status);
  for (const status of ['Pulling fs layer', 'Downloading', 'Download complete', 'Pull complete']) {
    t.is(statuses.filter((each) => each === status).length, 2, status);
  }
  t.deepEqual(statuses.slice(-2), [
    `Digest: ${digest}`,
    `Status: Downloaded newer image for ${name}:1`,
  ]);
  const again: string[] = [];
  const { log } = registry;
  log.length = 0;
  await images.pull(`${name}:1`, { ...quiet(), onProgress: ({ status }) => again.push(status) });
  t.is(again.at(-1), `Status: Image is up to date for ${name}:1`);
  t.deepEqual(
    log.filter((line) => line.includes('/blobs/')),
    [],
    'nothing is loaded twice',
  );
  for (const each of [`${name}:1`, `${name}@${digest}`, image.id, image.id.slice(7, 19)]) {
    t.is((await images.get(each)).id, image.id);
  }
});

test.serial(
  'ensure() pulls once for all who ask at once, and not at all when it is here',
  async (t) => {
    registry.image('1', [await layer('c', 'three')]);
    const name = `${registry.host}/once:1`;
    const all = await Promise.all(
      Array.from({ length: 8 }, () => images.ensure(name, undefined, soon())),
    );
    t.is(new Set(all.map(({ id }) => id)).size, 1);
    t.is(registry.count('/manifests/'), 1);
    await images.ensure(name, undefined, soon());
    t.is(registry.count('/manifests/'), 1);
  },
);

test.serial(
  'images that share layers are pulled at once without getting in each other’s way',
  async (t) => {
    const shared = await layer('big', 'x'.repeat(100_000));
    for (const n of [1, 2, 3]) registry.image(`${n}`, [shared, await layer('own', `${n}`)]);
    const pulled = await Promise.all(
      [1, 2, 3].map((n) => images.ensure(`${registry.host}/shared:${n}`, undefined, soon())),
    );
    t.is(new Set(pulled.map(({ chainId }) => chainId)).size, 3);
    t.is(new Set(pulled.map(({ diffIds }) => diffIds[0])).size, 1);
  },
);

test.serial('of an index the image of this platform is taken, or the one asked for', async (t) => {
  const linux = registry.image('amd', [await layer('p', 'amd64')]);
  const arm = registry.image('arm', [await layer('p', 'arm64')]);
  const { digest } = registry.index('multi', [
    { ...arm, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    { ...linux, platform: { os: 'linux', architecture: 'amd64' } },
  ]);
  const name = `${registry.host}/multi:multi`;
  const resolved = await images.resolve(name, undefined, soon());
  t.is(resolved.digest, digest);
  t.deepEqual(resolved.platforms, [
    { architecture: 'arm64', os: 'linux' },
    { architecture: 'amd64', os: 'linux' },
  ]);
  const own = await images.pull(name, quiet());
  t.is(own.targetDigest, digest);
  t.is(registry.count(arm.digest), 0);
  t.regex(
    await refused(images.pull(name, { ...quiet(), platform: 'linux/riscv64' })),
    /^not-found: no matching manifest for linux\/riscv64 in the manifest list entries$/,
  );
  const single = await images.resolve(`${registry.host}/x:amd`, undefined, soon());
  t.deepEqual(single.platforms, [{ architecture: 'amd64', os: 'linux' }]);
});

test.serial('a digest in the name is that digest and no other', async (t) => {
  const { digest } = registry.image('1', [await layer('d', 'right')]);
  const name = `${registry.host}/pinned`;
  const image = await images.ensure(`${name}:1@${digest}`, undefined, soon());
  t.deepEqual(image.tags, []);
  t.deepEqual(image.repoDigests, [`${name}@${digest}`]);
  t.is((await images.get(`${name}@${digest}`)).id, image.id);
  t.is((await images.ensure(`${name}:other@${digest}`, undefined, soon())).id, image.id);
  // The registry answers with another manifest than the one asked for.
  const { body } = registry.manifests.get(digest) ?? { body: Buffer.alloc(0) };
  const wanted = `sha256:${'1'.repeat(64)}`;
  registry.manifests.set(wanted, { type: 'x', body });
  t.regex(
    await refused(images.pull(`${name}@${wanted}`, quiet())),
    /^invalid-argument: manifest verification failed for digest sha256:1+: the registry sent/,
  );
});

test.serial(
  'a layer that is not what its digest promises is refused, and nothing is kept of it',
  async (t) => {
    const good = await layer('e', 'good');
    const bad = await layer('e', 'evil');
    registry.image('1', [good]);
    const [digest = ''] = [...registry.blobs].find(([, data]) => data === good.gzip) ?? [];
    const padded = Buffer.alloc(good.gzip.length);
    bad.gzip.copy(padded);
    registry.blobs.set(digest, padded);
    const name = `${registry.host}/lying:1`;
    t.is(
      await refused(images.pull(name, quiet())),
      `invalid-argument: filesystem layer verification failed for digest ${digest}`,
    );
    t.regex(await refused(images.get(name)), /^not-found: No such image: /);
    // Longer than promised.
    registry.blobs.set(digest, Buffer.concat([good.gzip, randomBytes(10)]));
    t.regex(await refused(images.pull(name, quiet())), /^invalid-argument: blob sha256:/);
    registry.blobs.set(digest, good.gzip);
    t.is((await images.pull(name, quiet())).diffIds.length, 1);
  },
);

test.serial('a layer that unpacks to something else is refused', async (t) => {
  const one = await layer('f', 'one');
  const other = await layer('f', 'other');
  registry.image('1', [{ tar: other.tar, gzip: one.gzip }]);
  t.regex(
    await refused(images.pull(`${registry.host}/diff:1`, quiet())),
    /^invalid-argument: layer sha256:\w+ unpacks to sha256:\w+, but .* promises sha256:/,
  );
});

test.serial('a broken download goes on where it stopped', async (t) => {
  const big = await layer('big', randomBytes(3 << 20).toString('base64'));
  registry.image('1', [big]);
  const ranges: (string | undefined)[] = [];
  let broken = 0;
  registry.fault = (request, response) => {
    if (!request.url?.includes('/blobs/')) return false;
    const blob = registry.blobs.get(request.url.split('/').at(-1) ?? '') ?? Buffer.alloc(0);
    if (blob.length < 1 << 20) return false;
    ranges.push(request.headers.range);
    if (broken === 2) return false;
    broken += 1;
    const from = Number(/(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': blob.length - from });
    response.write(blob.subarray(from, from + (1 << 20)), () => response.destroy());
    return true;
  };
  await images.pull(`${registry.host}/broken:1`, quiet());
  t.is(ranges.length, 3);
  const offsets = ranges.map((range) => Number(/(\d+)/.exec(range ?? '')?.[1] ?? 0));
  t.is(offsets[0], 0);
  t.true((offsets[1] ?? 0) > 0 && (offsets[2] ?? 0) > (offsets[1] ?? 0), offsets.join());
});

test.serial('a registry that ignores ranges is read from the start again', async (t) => {
  const big = await layer('big', randomBytes(2 << 20).toString('base64'));
  registry.image('1', [big]);
  let broken = false;
  registry.fault = (request, response) => {
    const blob = registry.blobs.get(request.url?.split('/').at(-1) ?? '');
    if (blob === undefined || blob.length < 1 << 20) return false;
    response.writeHead(200, { 'content-length': blob.length });
    if (broken) response.end(blob);
    else response.write(blob.subarray(0, 1 << 20), () => response.destroy());
    broken = true;
    return true;
  };
  t.is((await images.pull(`${registry.host}/ranges:1`, quiet())).diffIds.length, 1);
});

test.serial('a registry in trouble is asked again a few times, a refusal is final', async (t) => {
  registry.image('1', [await layer('g', 'x')]);
  let left = 2;
  registry.fault = (_, response) => left-- > 0 && refuse(response, 503, 'UNAVAILABLE', 'try later');
  await images.pull(`${registry.host}/busy:1`, quiet());
  registry.fault = () => false;
  registry.log.length = 0;
  const name = `${registry.host}/busy:none`;
  t.is(
    await refused(images.pull(name, quiet())),
    `not-found: manifest for ${name} not found: manifest unknown: manifest unknown`,
  );
  t.is(registry.count('/manifests/'), 1);
  t.is(await refused(images.ensure(name, undefined, soon())), `not-found: No such image: ${name}`);
});

test.serial('a token is fetched with the user’s name, and again when it has ended', async (t) => {
  registry.image('1', [await layer('h', 'x')]);
  const asked: string[] = [];
  let valid = '';
  registry.fault = (request, response) => {
    const { authorization = '' } = request.headers;
    if (request.url?.startsWith('/token')) {
      asked.push(`${request.url} ${authorization}`);
      if (authorization !== `Basic ${Buffer.from('joe:secret').toString('base64')}`) {
        return refuse(response, 401, 'UNAUTHORIZED', 'who are you');
      }
      valid = `t${asked.length}`;
      response.end(JSON.stringify({ token: valid }));
      return true;
    }
    if (valid !== '' && authorization === `Bearer ${valid}`) {
      // The first token is good for one request.
      if (valid === 't1') valid = '';
      return false;
    }
    return refuse(response, 401, 'UNAUTHORIZED', 'authentication required', {
      'www-authenticate': `Bearer realm="${registry.url}/token",service="reg",scope="repository:team/private:pull"`,
    });
  };
  const name = `${registry.host}/team/private:1`;
  const auth = { username: 'joe', password: 'secret', identityToken: '' };
  await images.pull(name, { ...quiet(), auth });
  t.is(asked.length, 2);
  t.regex(asked[0] ?? '', /service=reg&scope=repository%3Ateam%2Fprivate%3Apull&account=joe/);
  t.regex(
    await refused(images.pull(name, quiet())),
    /^not-found: pull access denied for .*team\/private, repository does not exist or may require 'docker login': unauthorized/,
  );
});

test.serial(
  'basic authentication works, and credentials do not follow to other hosts',
  async (t) => {
    registry.image('1', [await layer('i', 'x')]);
    const storage = await new FakeRegistry().start();
    t.teardown(() => storage.stop());
    for (const [digest, data] of registry.blobs) storage.blobs.set(digest, data);
    const leaked: (string | undefined)[] = [];
    storage.fault = (request) => {
      leaked.push(request.headers.authorization);
      return false;
    };
    registry.fault = (request, response) => {
      if (request.headers.authorization !== `Basic ${Buffer.from('a:b').toString('base64')}`) {
        return refuse(response, 401, 'UNAUTHORIZED', '', { 'www-authenticate': 'Basic realm="x"' });
      }
      if (!request.url?.includes('/blobs/')) return false;
      response.writeHead(307, { location: `${storage.url}${request.url}` }).end();
      return true;
    };
    const auth = { username: 'a', password: 'b', identityToken: '' };
    await images.pull(`${registry.host}/basic:1`, { ...quiet(), auth });
    t.true(leaked.length > 0);
    t.true(leaked.every((authorization) => authorization === undefined));
  },
);

test.serial('mirrors are asked first, and passed over when they lack it or are down', async (t) => {
  const mirror = await new FakeRegistry().start();
  t.teardown(() => mirror.stop());
  const layers = [await layer('j', 'mirrored')];
  mirror.image('both', layers);
  for (const tag of ['both', 'one']) registry.image(tag, layers);
  const { host } = registry;
  const mirrors = { [host]: ['http://127.0.0.1:1', mirror.url] };
  const mirrored = daemon.images({ mirrors });
  await mirrored.pull(`${host}/m:both`, quiet());
  t.is(registry.log.length, 0);
  await mirrored.pull(`${host}/m:one`, quiet());
  t.is(registry.count('/manifests/one'), 1);
});

test.serial(
  'a registry with a certificate that nobody vouches for is spoken to where that is allowed',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-tls-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const [keyFile, certFile] = [join(folder, 'key'), join(folder, 'cert')];
    const request = `req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=nobody -keyout ${keyFile} -out ${certFile}`;
    execFileSync('/usr/bin/openssl', request.split(' '), { stdio: 'ignore' });
    const tls = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
    const secure = await new FakeRegistry(tls).start();
    t.teardown(() => secure.stop());
    secure.image('1', [await layer('k', 'secret')]);
    t.is((await images.pull(`${secure.host}/tls:1`, quiet())).diffIds.length, 1);
  },
);

test.serial('Docker’s own registry is understood', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-reg-'));
  const port = await freePort();
  const config = `version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${folder}/data}}\nhttp: {addr: "127.0.0.1:${port}"}\n`;
  writeFileSync(join(folder, 'config.yml'), config);
  const child = spawn('/usr/bin/docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: 'ignore',
  });
  t.teardown(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  const base = `http://127.0.0.1:${port}/v2`;
  while (
    !(await fetch(`${base}/`).then(
      ({ ok }) => ok,
      () => false,
    ))
  )
    await delay(50);
  const { digest } = registry.image('1', [await layer('l', 'real')]);
  for (const [blob, data] of registry.blobs) {
    const upload = await fetch(`${base}/a/b/blobs/uploads/`, { method: 'POST' });
    const url = `${upload.headers.get('location')}&digest=${blob}`;
    t.is((await fetch(url, { method: 'PUT', body: new Uint8Array(data) })).status, 201);
  }
  const { type, body } = registry.manifests.get('1') ?? { type: '', body: Buffer.alloc(0) };
  const put = { method: 'PUT', headers: { 'content-type': type }, body: new Uint8Array(body) };
  t.is((await fetch(`${base}/a/b/manifests/v1`, put)).status, 201);
  const name = `127.0.0.1:${port}/a/b`;
  t.is((await images.resolve(`${name}:v1`, undefined, soon())).digest, digest);
  const image = await images.ensure(`${name}:v1`, undefined, soon());
  t.deepEqual(image.repoDigests, [`${name}@${digest}`]);
  t.is(
    await refused(images.pull(`${name}:v2`, quiet())),
    `not-found: manifest for ${name}:v2 not found: manifest unknown: manifest unknown`,
  );
  t.regex(
    await refused(images.pull(`127.0.0.1:${port}/nothing:1`, quiet())),
    /^not-found: manifest for .*nothing:1 not found: manifest unknown/,
  );
});

test.serial('nobody there is told quickly and by name', async (t) => {
  const error = await refused(images.pull('127.0.0.1:1/x:1', quiet()));
  t.regex(error, /^unavailable: Get "http:\/\/127.0.0.1:1\/v2\/x\/manifests\/1": .*ECONNREFUSED/);
  t.regex(
    await refused(images.ensure('127.0.0.1:1/x:1', undefined, soon())),
    /^unavailable: No such image: 127.0.0.1:1\/x:1 \(Get /,
  );
  t.regex(await refused(images.ensure('Bad Name', undefined, soon())), /^invalid-argument: /);
});

test.serial('a pull can be given up, and taken up again', async (t) => {
  const big = await layer('big', randomBytes(2 << 20).toString('base64'));
  registry.image('1', [big]);
  let slow = true;
  registry.fault = (request, response) => {
    const blob = registry.blobs.get(request.url?.split('/').at(-1) ?? '');
    if (!slow || blob === undefined || blob.length < 1 << 20) return false;
    response.writeHead(200, { 'content-length': blob.length });
    response.write(blob.subarray(0, 1 << 20));
    setTimeout(() => giveUp.abort(new Error('enough')), 100);
    return true;
  };
  const giveUp = new AbortController();
  const name = `${registry.host}/slow:1`;
  await t.throwsAsync(images.pull(name, { ...quiet(), signal: giveUp.signal }), {
    message: 'enough',
  });
  slow = false;
  t.is((await images.ensure(name, undefined, soon())).diffIds.length, 1);
});

test.serial('manifests that are none, or too big, are refused', async (t) => {
  registry.manifest('v1', { schemaVersion: 1, fsLayers: [] }, 'application/json');
  registry.manifests.set('text', { type: 'text/plain', body: Buffer.from('hello') });
  registry.manifests.set('huge', { type: 'x', body: Buffer.alloc(9 << 20, ' ') });
  for (const tag of ['v1', 'text', 'huge']) {
    t.regex(
      await refused(images.pull(`${registry.host}/bad:${tag}`, quiet())),
      /^invalid-argument: /,
      tag,
    );
  }
});
