// Load, import, save, tag and remove on a private containerd.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import anyTest, { type TestFn } from 'ava';
import { extract, pack } from 'tar-stream';
import type { ContainerdImages } from '../../../agent/image/images.ts';
import { ContentStore } from '../../../agent/image/io/content.ts';
import { ImageStore } from '../../../agent/image/io/image-store.ts';
import { type Manifest, OCI_LAYER } from '../../../agent/image/manifest.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { LeasesService } from '../../../shared/gen/containerd/leases.ts';
import { containerConfig } from '../../support/container-config.ts';
import { soon } from '../../support/container-host.ts';
import { busyboxRootfs, TestContainerd } from '../../support/containerd.ts';
import { FakeRegistry, layer, sha256 } from '../../support/fake-registry.ts';

const test = anyTest as TestFn;
let daemon: TestContainerd;
let images: ContainerdImages;
test.before(async () => {
  daemon = await TestContainerd.start();
  images = daemon.images();
});
test.after.always('nothing is left', async (t) => {
  if (daemon !== undefined) t.deepEqual(await daemon.stop(), []);
});

const IDLE = { force: false, inUse: () => undefined };
const refused = async (run: Promise<unknown>) => {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return isShoalError(error) ? `${error.code}: ${error.message}` : String(error);
};

async function* chunks(bytes: Buffer, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function gather(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of stream) all.push(chunk);
  return Buffer.concat(all);
}

type Entry = [name: string, body: Buffer | string | { link: string }];
async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const [name, body] of entries) {
    if (typeof body === 'object' && 'link' in body) {
      tar.entry({ name, type: 'symlink', linkname: body.link });
    } else tar.entry({ name }, body);
  }
  tar.finalize();
  return gather(tar as AsyncIterable<Uint8Array>);
}

async function filesOf(tar: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const entries = extract();
  entries.end(tar);
  for await (const entry of entries) {
    files.set(entry.header.name, await gather(entry as AsyncIterable<Uint8Array>));
  }
  return files;
}

async function collectGarbage(): Promise<void> {
  const client = daemon.client();
  await client.call(LeasesService.create, { id: 'force-gc', labels: {} });
  await client.call(LeasesService.delete, { id: 'force-gc', sync: true });
}

/** A docker-archive as old `docker save` made them: the second image's first layer is a link to the first's. */
async function dockerArchive(): Promise<Buffer> {
  const [base, one, two] = [
    await layer('base', 'base'),
    await layer('own', 'one'),
    await layer('own', 'two'),
  ];
  const config = (...layers: { tar: Buffer }[]) =>
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/own'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => sha256(tar)) },
    });
  return tarOf([
    ['a/VERSION', '1.0'],
    ['a/layer.tar', base.tar],
    ['b/layer.tar', one.tar],
    ['c/layer.tar', { link: '../a/layer.tar' }],
    ['d/layer.tar', two.gzip],
    ['one.json', config(base, one)],
    ['two.json', config(base, two)],
    [
      'manifest.json',
      JSON.stringify([
        {
          Config: 'one.json',
          RepoTags: ['load:1', 'load:same'],
          Layers: ['a/layer.tar', 'b/layer.tar'],
        },
        { Config: 'two.json', RepoTags: null, Layers: ['c/layer.tar', 'd/layer.tar'] },
      ]),
    ],
    ['repositories', '{}'],
  ]);
}

test.serial('a docker-archive is loaded, plain and compressed', async (t) => {
  const archive = await dockerArchive();
  const [first, second, nameless, ...rest] = await images.load(chunks(archive), soon());
  t.deepEqual([first, second, rest], ['load:1', 'load:same', []]);
  t.regex(nameless ?? '', /^sha256:/);
  const one = await images.get('load:1');
  t.deepEqual(one.tags, ['load:1', 'load:same']);
  t.deepEqual(one.config.cmd, ['/own']);
  const two = await images.get(nameless ?? '');
  t.deepEqual(two.tags, []);
  t.is(two.diffIds[0], one.diffIds[0]);
  t.not(two.chainId, one.chainId);
  t.deepEqual(await images.load(chunks(gzipSync(archive), 999), soon()), [
    'load:1',
    'load:same',
    nameless ?? '',
  ]);
});

test.serial('archives that make no sense are refused', async (t) => {
  const load = async (entries: Entry[]) =>
    refused(images.load(chunks(await tarOf(entries)), soon()));
  t.regex(await load([['x', 'y']]), /^invalid-argument: the archive has neither a manifest.json/);
  t.regex(await load([['manifest.json', '{}']]), /^invalid-argument: manifest.json is no list/);
  const item = { Config: 'c.json', RepoTags: [], Layers: ['gone.tar'] };
  const missing: Entry[] = [
    ['c.json', '{}'],
    ['manifest.json', JSON.stringify([item])],
  ];
  t.regex(await load(missing), /^invalid-argument: the archive's manifest names gone.tar/);
  const wrong: Entry[] = [
    ['c.json', JSON.stringify({ rootfs: { diff_ids: [sha256('other')] } })],
    ['l.tar', (await layer('x', 'y')).tar],
    ['manifest.json', JSON.stringify([{ Config: 'c.json', RepoTags: ['w:1'], Layers: ['l.tar'] }])],
  ];
  t.regex(await load(wrong), /^invalid-argument: layer .* unpacks to/);
  t.regex(await refused(images.get('w:1')), /^not-found/);
  t.regex(
    await refused(images.load(chunks(Buffer.from('this is no tar at all'.repeat(100))), soon())),
    /^invalid-argument: cannot read the archive/,
  );
  const cut = await dockerArchive();
  t.regex(
    await refused(images.load(chunks(cut.subarray(0, 3000)), soon())),
    /^invalid-argument: cannot read the archive/,
  );
});

test.serial('what is saved can be loaded elsewhere, as either kind of archive', async (t) => {
  const saved = await gather(images.save(['load:1'], soon()));
  const files = await filesOf(saved);
  const [item] = JSON.parse(`${files.get('manifest.json')}`);
  t.deepEqual(item.RepoTags, ['load:1']);
  for (const path of [item.Config, ...item.Layers]) {
    t.is(`blobs/sha256/${sha256(files.get(path) ?? '').slice(7)}`, path);
  }
  const image = await images.get('load:1');
  const other = await TestContainerd.start();
  t.teardown(() => other.stop());
  const there = other.images();
  t.deepEqual(await there.load(chunks(saved), soon()), ['load:1']);
  t.is((await there.get('load:1')).id, image.id);
  files.delete('manifest.json');
  files.delete('repositories');
  const layout = await tarOf([...files]);
  await there.remove('load:1', IDLE);
  t.deepEqual(await there.load(chunks(layout), soon()), ['load:1']);
  t.is((await there.get('load:1')).chainId, image.chainId);
  const byId = await filesOf(await gather(images.save([image.id.slice(7, 19)], soon())));
  t.is(JSON.parse(`${byId.get('manifest.json')}`)[0].RepoTags, null);
  t.regex(
    await refused(gather(images.save(['nope:1'], soon()))),
    /^not-found: No such image: nope:1/,
  );
});

test.serial('a root file system becomes an image; a compressed one is the same', async (t) => {
  const options = {
    reference: 'imp:1',
    message: 'by hand',
    changes: ['CMD ["/x"]'],
    signal: soon(),
  };
  const { tar, gzip } = await layer('x', 'hello');
  const plain = await images.import(chunks(tar), options);
  t.deepEqual(plain.tags, ['imp:1']);
  t.deepEqual(plain.config.cmd, ['/x']);
  t.is(plain.history[0]?.comment, 'by hand');
  t.deepEqual(plain.diffIds, [sha256(tar)]);
  const packed = await images.import(chunks(gzip), { ...options, reference: 'imp:2' });
  t.is(packed.chainId, plain.chainId);
  const nameless = await images.import(chunks(tar), { ...options, reference: undefined });
  t.deepEqual(nameless.tags, []);
  t.is((await images.get(nameless.id)).id, nameless.id);
  for (const junk of [Buffer.from('garbage'.repeat(500)), Buffer.from([0x1f, 0x8b, 1, 2, 3])]) {
    t.regex(
      await refused(images.import(chunks(junk), options)),
      /^invalid-argument: cannot (read the archive: unknown|unpack the layer: archive\/tar: invalid)/,
    );
  }
  t.regex(
    await refused(images.import(chunks(tar), { ...options, changes: ['RUN x'] })),
    /^invalid-argument: run is not a valid change command/,
  );
  t.regex(
    await refused(images.import(chunks(tar), { ...options, reference: 'UPPER' })),
    /^invalid-argument: invalid reference format/,
  );
});

test.serial(
  'a name that is given to another image leaves the old one without a name',
  async (t) => {
    const make = async (text: string) =>
      images.import(chunks((await layer('x', text)).tar), {
        reference: 'moved:1',
        message: '',
        changes: [],
        signal: soon(),
      });
    const old = await make('old');
    const young = await make('young');
    t.is((await images.get('moved:1')).id, young.id);
    t.deepEqual((await images.get(old.id)).tags, []);
    await images.tag(old.id, 'moved:0');
    t.deepEqual((await images.get(old.id)).tags, ['moved:0']);
    t.is((await images.list()).filter(({ id }) => id === old.id).length, 1);
    // Its last name takes it away: that it was nameless once does not keep it.
    const removed = await images.remove('moved:0', IDLE);
    t.deepEqual(removed, [{ untagged: 'moved:0' }, { deleted: old.id }, { deleted: old.chainId }]);
    t.regex(await refused(images.get(old.id)), /^not-found/);
    t.regex(await refused(images.tag('nope:1', 'x:1')), /^not-found: No such image: nope:1/);
  },
);

test.serial(
  'an image with several names loses one; its layers stay while another image has them',
  async (t) => {
    const one = await images.get('load:1');
    t.deepEqual(await images.remove('load:same', IDLE), [{ untagged: 'load:same' }]);
    const removed = await images.remove('load:1', IDLE);
    t.deepEqual(removed, [{ untagged: 'load:1' }, { deleted: one.id }, { deleted: one.chainId }]);
    t.regex(await refused(images.remove('load:1', IDLE)), /^not-found: No such image: load:1/);
  },
);

test.serial(
  'an image in use is refused; by force it stays without a name until it is free',
  async (t) => {
    const image = await images.import(busyboxRootfs(), {
      reference: 'used:1',
      message: '',
      changes: [],
      signal: soon(),
    });
    const runtime = await daemon.runtime();
    const config = containerConfig('cat /etc/passwd | head -n 1', {
      imageId: image.id,
      chainId: image.chainId,
    });
    await runtime.create(config, image, [], soon());
    const inUse = (id: string) => (id === image.id ? config.id : undefined);
    t.is(
      await refused(images.remove('used:1', { force: false, inUse })),
      `failed-precondition: conflict: unable to remove repository reference "used:1" (must force) - container ${config.id.slice(0, 12)} is using its referenced image ${image.id.slice(7, 19)}`,
    );
    t.deepEqual(await images.remove('used:1', { force: true, inUse }), [{ untagged: 'used:1' }]);
    t.deepEqual((await images.get(image.id)).tags, []);
    t.regex(
      await refused(images.remove(image.id, { force: true, inUse })),
      /^failed-precondition: conflict: unable to delete \w{12} \(cannot be forced\)/,
    );
    await runtime.start(config.id, soon());
    t.is((await runtime.wait(config.id, soon())).exitCode, 0);
    await runtime.remove(config.id, { force: true });
    await runtime.close();
    const removed = await images.remove(image.id.slice(7, 19), IDLE);
    t.deepEqual(removed, [{ deleted: image.id }, { deleted: image.chainId }]);
  },
);

test.serial(
  'images survive the garbage collector and a new process, without their leases',
  async (t) => {
    const registry = await new FakeRegistry().start();
    t.teardown(() => registry.stop());
    registry.image('1', [await layer('a', 'kept'), await layer('b', 'too')]);
    const name = `${registry.host}/kept:1`;
    const pulled = await images.ensure(name, undefined, soon());
    await collectGarbage();
    await daemon.killDaemon();
    await daemon.startDaemon();
    const fresh = daemon.images();
    t.deepEqual(await fresh.get(name), pulled);
    await registry.stop();
    t.is((await fresh.ensure(name, undefined, soon())).chainId, pulled.chainId);
  },
);

test.serial('what another load left is held by the load that relies on it', async (t) => {
  const client = daemon.client();
  const content = new ContentStore(client);
  const store = new ImageStore(client, content, {
    snapshotter: 'overlayfs',
    platform: { os: 'linux', architecture: 'amd64' },
  });
  const { tar } = await layer('shared', 'by two');
  const digest = sha256(tar);
  const sizeBytes = tar.length;
  const blob = { mediaType: OCI_LAYER, digest, size: sizeBytes };
  const unpacked: Manifest = { config: blob, layers: [blob] };
  const bytes = async () => ({ from: 0, data: chunks(tar) });
  const uploads = { unknown: {}, known: { digest, sizeBytes } };
  for (const [ref, promised] of Object.entries(uploads)) {
    await content.withLease('second', async (second) => {
      await content.withLease('first', async (first) => {
        await content.write({ ref: 'first', lease: first }, bytes);
        await store.unpack(unpacked, [digest], first, soon());
        await content.write({ ref, lease: second, ...promised }, bytes);
        await store.unpack(unpacked, [digest], second, soon());
      });
      await collectGarbage();
      t.is(await content.sizeOf(digest), sizeBytes, ref);
      t.true(await store.hasSnapshot(digest), ref);
    });
    await collectGarbage();
    t.is(await content.sizeOf(digest), undefined, ref);
    t.false(await store.hasSnapshot(digest), ref);
  }
});

test.serial('an image that somebody else put here is unpacked when it is wanted', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-ctr-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'image.tar'), await dockerArchive());
  const { address } = daemon.paths;
  const ctr = ['--address', address, '--namespace', daemon.name];
  execFileSync('/usr/bin/ctr', [
    ...ctr,
    'images',
    'import',
    '--no-unpack',
    join(folder, 'image.tar'),
  ]);
  const fresh = daemon.images();
  const image = await fresh.ensure('load:1', undefined, soon());
  const runtime = await daemon.runtime();
  const config = containerConfig('', { cmd: ['/own'], imageId: image.id, chainId: image.chainId });
  await runtime.create(config, image, [], soon());
  t.regex(await refused(runtime.start(config.id, soon())), /permission denied/);
  await runtime.remove(config.id, { force: true });
});
