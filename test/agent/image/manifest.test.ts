import test from 'ava';
import { parseChallenge, tokenUrl } from '../../../agent/image/auth.ts';
import { applyChanges } from '../../../agent/image/changes.ts';
import {
  choosePlatform,
  type Descriptor,
  OCI_MANIFEST,
  parseConfig,
  parseManifest,
  parsePlatform,
} from '../../../agent/image/manifest.ts';
import { isShoalError } from '../../../shared/errors.ts';

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const descriptor = (digit: string, platform?: Descriptor['platform']): Descriptor => ({
  mediaType: OCI_MANIFEST,
  digest: `sha256:${digit.repeat(64)}`,
  size: 3,
  ...(platform === undefined ? {} : { platform }),
});
const AMD64 = { os: 'linux', architecture: 'amd64' };

test('the platform of the host is chosen from an index, its variant first', (t) => {
  const index = {
    manifests: [
      descriptor('1', { os: 'windows', architecture: 'amd64' }),
      descriptor('2', { os: 'linux', architecture: 'arm', variant: 'v7' }),
      descriptor('3', { os: 'linux', architecture: 'arm', variant: 'v6' }),
      descriptor('4', AMD64),
      descriptor('5', { os: 'unknown', architecture: 'unknown' }),
    ],
  };
  t.is(choosePlatform(index, AMD64), index.manifests[3] as Descriptor);
  const v6 = parsePlatform('linux/arm/v6', AMD64);
  t.is(choosePlatform(index, v6), index.manifests[2] as Descriptor);
  t.is(choosePlatform(index, parsePlatform('linux/arm', AMD64)), index.manifests[1] as Descriptor);
  const error = t.throws(() => choosePlatform(index, parsePlatform('linux/riscv64', AMD64)));
  t.true(isShoalError(error, 'not-found'));
  t.is(error?.message, 'no matching manifest for linux/riscv64 in the manifest list entries');
});

test('a platform is read in any of its forms', (t) => {
  t.deepEqual(parsePlatform(undefined, AMD64), AMD64);
  t.deepEqual(parsePlatform('linux', AMD64), AMD64);
  t.deepEqual(parsePlatform('linux/x86_64', AMD64), AMD64);
  t.deepEqual(parsePlatform('linux/aarch64', AMD64), { os: 'linux', architecture: 'arm64' });
  t.throws(() => parsePlatform('a/b/c/d', AMD64));
});

test('what is no manifest is refused', (t) => {
  const layers = [descriptor('a')];
  t.deepEqual(parseManifest(bytes({ config: descriptor('b'), layers })), {
    config: descriptor('b'),
    layers,
  });
  const bad: unknown[] = [
    {},
    [],
    null,
    { schemaVersion: 1, fsLayers: [] },
    { config: descriptor('b') },
    { config: { ...descriptor('b'), digest: 'sha256:../../etc/passwd' }, layers },
    { config: { ...descriptor('b'), size: -1 }, layers },
    { config: { ...descriptor('b'), size: '3' }, layers },
    { config: descriptor('b'), layers: [null] },
    { config: descriptor('b'), layers: Array.from({ length: 600 }, () => descriptor('a')) },
  ];
  for (const each of bad) {
    t.true(
      isShoalError(
        t.throws(() => parseManifest(bytes(each))),
        'invalid-argument',
      ),
    );
  }
  t.throws(() => parseManifest(new Uint8Array([0xff, 0xfe])), { message: /not JSON/ });
});

test('a configuration with nothing in it is an image without defaults', (t) => {
  const { image, diffIds } = parseConfig(bytes({ config: null }));
  t.deepEqual(diffIds, []);
  t.deepEqual(image.config.env, []);
  t.is(image.config.healthcheck, undefined);
  const full = parseConfig(
    bytes({
      config: {
        Healthcheck: { Test: ['CMD', 'x'], Interval: 5 },
        Volumes: { '/v': {} },
        Cmd: ['c'],
      },
    }),
  ).image.config;
  t.is(full.healthcheck?.intervalNs, 5);
  t.deepEqual(full.volumes, ['/v']);
});

test('challenges of registries are understood', (t) => {
  t.deepEqual(parseChallenge('Basic realm="x"'), { scheme: 'basic' });
  const header = 'Bearer realm="https://a/token",service="reg,istry",scope="repository:x:pull"';
  const bearer = parseChallenge(header);
  t.deepEqual(bearer, {
    scheme: 'bearer',
    realm: 'https://a/token',
    service: 'reg,istry',
    scope: 'repository:x:pull',
  });
  t.is(parseChallenge(undefined), undefined);
  t.is(parseChallenge('Negotiate'), undefined);
  t.is(parseChallenge('Bearer service="x"'), undefined);
  t.is(parseChallenge('Bearer realm="/token"'), undefined, 'nowhere to ask');
  const challenge = {
    scheme: 'bearer',
    realm: 'https://a/t?k=1',
    service: 's',
    scope: '',
  } as const;
  const url = tokenUrl(challenge, 'repository:team/x:pull', 'joe');
  t.is(url, 'https://a/t?k=1&service=s&scope=repository%3Ateam%2Fx%3Apull&account=joe');
  t.is(tokenUrl(challenge, '', undefined), 'https://a/t?k=1&service=s', 'of a login');
});

test('Dockerfile instructions change the configuration of an import', (t) => {
  t.deepEqual(
    applyChanges([
      'CMD ["/web","-p"]',
      'entrypoint /bin/run me',
      'ENV A=1 B="two words"',
      'ENV A other value',
      'EXPOSE 80 53/udp',
      'USER web',
      'LABEL a.b=c "d e"=f',
      'VOLUME ["/data"]',
      'VOLUME /x /y',
      'WORKDIR /srv',
      'WORKDIR app',
      'STOPSIGNAL SIGQUIT',
      '',
    ]),
    {
      Cmd: ['/web', '-p'],
      Entrypoint: ['/bin/sh', '-c', '/bin/run me'],
      Env: ['A=other value', 'B=two words'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      User: 'web',
      Labels: { 'a.b': 'c', 'd e': 'f' },
      Volumes: { '/data': {}, '/x': {}, '/y': {} },
      WorkingDir: '/srv/app',
      StopSignal: 'SIGQUIT',
    },
  );
  for (const bad of ['RUN x', 'ENV', 'EXPOSE web', 'LABEL a=1 b', 'ENV A']) {
    t.true(
      isShoalError(
        t.throws(() => applyChanges([bad])),
        'invalid-argument',
      ),
      bad,
    );
  }
});
