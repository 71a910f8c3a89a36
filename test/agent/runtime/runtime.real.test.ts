// ContainerdRuntime on a private containerd: what a container is, how it starts, ends and is removed.
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { isShoalError } from '../../../shared/errors.ts';
import type { containerConfig } from '../../support/container-config.ts';
import { soon, TestHost } from '../../support/container-host.ts';

const test = anyTest as TestFn<TestHost>;
let host: TestHost;
test.before(async () => {
  host = await TestHost.start();
});
test.after.always('nothing is left', async (t) => {
  if (host !== undefined) t.deepEqual(await host.daemon.stop(), []);
});

const NEW_ID = 'd'.repeat(64);

test.serial('a container runs, prints, ends with its code and leaves nothing', async (t) => {
  const id = await host.run('echo out; echo err >&2; head -c 1000000 /dev/zero > /big; exit 3');
  const end = await host.runtime.wait(id, soon());
  const written = await host.runtime.writtenBytes(id);
  t.true(written >= 1_000_000 && written < 2_000_000, `${written}`);
  t.is(end.exitCode, 3);
  t.false(end.oomKilled);
  t.deepEqual((await host.output(id)).sort(), ['1out', '2err']);
  const state = (await host.runtime.get(id))?.state;
  t.like(state, { status: 'exited', exitCode: 3, pid: 0 });
  t.true((state?.finishedAtMs ?? 0) >= (state?.startedAtMs ?? Infinity));
  await host.runtime.remove(id, { force: false });
  await host.runtime.remove(id, { force: false });
  t.is(await host.runtime.get(id), undefined);
  t.false(existsSync(join(host.daemon.folder, 'state/containers', id)));
});

test.serial('inside it looks as in Docker', async (t) => {
  const lines = await host.outputOf(
    'id; hostname; cat /etc/resolv.conf; echo $A $PATH; pwd; grep -E "Cap(Eff|Bnd)|Seccomp:|NoNewPrivs" /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /sys/class/net; (echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo ro; ls /sys/firmware | wc -l',
    { hostname: 'web-1', env: ['A=1'], workingDir: '/made/up' },
  );
  t.deepEqual(
    lines.map((line) => line.slice(1).replace(/\t/g, ' ')),
    [
      'uid=0(root) gid=0(root) groups=0(root),10(wheel)',
      'web-1',
      'nameserver 127.0.0.11',
      '1 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      '/made/up',
      'CapEff: 00000000a80425fb',
      'CapBnd: 00000000a80425fb',
      'NoNewPrivs: 0',
      'Seccomp: 2',
      '0',
      'lo',
      'ro',
      '0',
    ],
  );
});

test.serial('user, tmpfs, binds, read-only root and limits are as asked', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bind-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o777);
  writeFileSync(join(folder, 'file'), 'from the host\n');
  const id = await host.run(
    'id -u; cat /h/file; echo x > /h/new; echo x > /root-file; echo x > /t/ok && echo tmpfs; sleep 60',
    {
      user: 'web',
      readOnly: true,
      mounts: [
        {
          type: 'bind',
          source: folder,
          target: '/h',
          readOnly: true,
          propagation: '',
          recursive: true,
        },
        {
          type: 'bind',
          source: join(folder, 'made/here'),
          target: '/made',
          readOnly: false,
          propagation: '',
          recursive: true,
          createSource: true,
        },
        { type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 1 << 20, mode: 0 },
      ],
      resources: {
        nanoCpus: 500_000_000,
        memoryBytes: 64 << 20,
        memoryReservationBytes: 32 << 20,
        pids: 20,
      },
    },
  );
  await host.until(id, (status) => status === 'running');
  while ((await host.output(id, { follow: false })).length < 5) await new Promise(setImmediate);
  t.deepEqual((await host.output(id, { follow: false })).sort(), [
    '11000',
    '1from the host',
    '1tmpfs',
    "2/bin/sh: can't create /h/new: Read-only file system",
    "2/bin/sh: can't create /root-file: Read-only file system",
  ]);
  const stats = await host.runtime.stats(id);
  t.like(stats, { memoryLimitBytes: 64 << 20, pidsLimit: 20, onlineCpus: stats?.onlineCpus ?? 0 });
  t.true((stats?.cpuTotalNs ?? 0) > 1e6 && (stats?.cpuTotalNs ?? 0) < 5e9);
  t.true((stats?.memoryUsageBytes ?? 0) > 10_000 && (stats?.memoryUsageBytes ?? 0) < 64 << 20);
  t.true((stats?.systemCpuNs ?? 0) > 1e9);
  t.true(existsSync(join(folder, 'made/here')));
  t.is(stats?.pids, (await host.runtime.processes(id)).length);
  await host.runtime.remove(id, { force: true });
  t.is(await host.runtime.stats(id).catch((error) => error.code), 'not-found');
});

test.serial(
  'secrets are in memory only, configs are files; both with owner and mode',
  async (t) => {
    const id = await host.create(
      'cat /run/secrets/s /cfg; stat -c "%u:%g %a" /run/secrets/s /cfg; grep -c shm /proc/mounts',
      {
        user: '7',
        files: [
          { kind: 'secret', target: '/run/secrets/s', uid: 7, gid: 8, mode: 0o400 },
          { kind: 'config', target: '/cfg', uid: 0, gid: 0, mode: 0o444 },
        ],
      },
      [Buffer.from('hush\n'), Buffer.from('plain\n')],
    );
    await host.runtime.start(id, soon());
    await host.runtime.wait(id, soon());
    t.deepEqual((await host.output(id)).slice(0, 4), ['1hush', '1plain', '17:8 400', '10:0 444']);
    const onDisk = readdirSync(join(host.daemon.folder, 'state/containers', id));
    t.deepEqual(
      onDisk.filter((name) => name.startsWith('secret')),
      [],
    );
    t.true(onDisk.includes('config-1'));
    const secrets = join('/dev/shm', `shoal-test-${host.daemon.name}`, 'secrets');
    t.is(readFileSync(join(secrets, id, 'secret-0'), 'utf8'), 'hush\n');
    t.is(statSync(secrets).mode & 0o777, 0o700, 'also of those that each may read inside');
    await host.runtime.remove(id, { force: false });
    t.deepEqual(readdirSync(secrets), []);
  },
);

const unstartable: [string, string[], RegExp, number][] = [
  [
    'a missing path',
    ['/nope'],
    /exec: "\/nope": stat \/nope: no such file or directory: unknown$/,
    127,
  ],
  [
    'a missing command',
    ['nope'],
    /exec: "nope": executable file not found in \$PATH: unknown$/,
    127,
  ],
  ['no program', ['/bin/not-executable'], /not-executable": permission denied: unknown$/, 126],
];
for (const [what, cmd, message, exitCode] of unstartable) {
  test.serial(`${what} is refused in the OCI runtime's words, and can be removed`, async (t) => {
    const id = await host.create('', { cmd });
    const error = await t.throwsAsync(host.runtime.start(id, soon()), { message });
    t.true(isShoalError(error, 'invalid-argument'));
    t.regex(
      error?.message ?? '',
      /^failed to create task for container: .*OCI runtime create failed/,
    );
    const state = (await host.runtime.get(id))?.state;
    t.like(state, { status: 'created', exitCode, error: error?.message ?? '' });
    t.true((await host.output(id)).every((line) => line.startsWith('2runc create failed')));
    await host.runtime.remove(id, { force: false });
  });
}

test.serial('what cannot be made leaves nothing behind', async (t) => {
  const code = async (fields: Parameters<typeof containerConfig>[1]) => {
    const error = await t.throwsAsync(host.create('true', fields));
    return isShoalError(error) ? `${error.code}: ${error.message}` : String(error);
  };
  t.regex(await code({ user: 'bob' }), /^invalid-argument: unable to find user bob/);
  const mount = {
    source: '/no/such',
    target: '/x',
    readOnly: true,
    propagation: '',
    recursive: true,
  };
  t.is(
    await code({ mounts: [{ type: 'bind', ...mount }] }),
    'invalid-argument: invalid mount config for type "bind": bind source path does not exist: /no/such',
  );
  t.regex(await code({ chainId: `sha256:${'0'.repeat(64)}` }), /^not-found: /);
  await host.create('true', { id: NEW_ID });
  t.regex(await code({ id: NEW_ID }), /^already-exists: /);
  await host.runtime.remove(NEW_ID, { force: false });
  t.deepEqual(await host.runtime.list(), []);
});

test.serial('unknown ids and wrong states are told apart', async (t) => {
  const { runtime } = host;
  const code = (run: Promise<unknown>) =>
    run.then(
      () => 'fine',
      (error) => error.code,
    );
  t.is(await code(runtime.start(NEW_ID, soon())), 'not-found');
  t.is(await code(runtime.kill(NEW_ID, 9)), 'not-found');
  t.is(await code(runtime.wait(NEW_ID, soon())), 'not-found');
  t.is(await code(runtime.remove(NEW_ID, { force: true })), 'fine');
  const id = await host.create('exec sleep 60');
  t.is(await code(runtime.kill(id, 9)), 'failed-precondition');
  t.is(await code(runtime.processes(id)), 'failed-precondition');
  t.is(await code(host.exec(id, 'true')), 'failed-precondition');
  t.is(await runtime.stats(id), undefined);
  const { pid } = await runtime.start(id, soon());
  t.is((await runtime.start(id, soon())).pid, pid, 'starting twice is no error');
  t.is(await code(runtime.remove(id, { force: false })), 'failed-precondition');
  await runtime.kill(id, 9);
  t.is((await runtime.wait(id, soon())).exitCode, 137);
  t.is(await code(runtime.kill(id, 9)), 'fine', 'it has ended already');
  await runtime.remove(id, { force: false });
});

test.serial('a container can be started again; its log goes on', async (t) => {
  const id = await host.run('echo turn; echo x >> /count; exit $(wc -l < /count)');
  t.is((await host.runtime.wait(id, soon())).exitCode, 1);
  await host.runtime.start(id, soon());
  const { exitCode } = await host.runtime.wait(id, soon());
  t.is(exitCode, 2);
  t.deepEqual(await host.output(id), ['1turn', '1turn']);
  t.deepEqual(await host.output(id, { tail: 1 }), ['1turn']);
  await host.runtime.remove(id, { force: false });
});

test.serial('a kill for lack of memory is seen, also of a child', async (t) => {
  const id = await host.run('dd if=/dev/zero of=/dev/null bs=100M count=1; true', {
    resources: { nanoCpus: 0, memoryBytes: 16 << 20, memoryReservationBytes: 0, pids: 0 },
  });
  const end = await host.runtime.wait(id, soon());
  t.true(end.oomKilled);
  t.is(end.exitCode, 0);
  t.true((await host.runtime.get(id))?.state.oomKilled);
  await host.runtime.remove(id, { force: false });
});

test.serial('ends are told as events, and to those who wait', async (t) => {
  const stop = new AbortController();
  const events = host.runtime.events(stop.signal);
  const id = await host.create('exit 9');
  const next = host.runtime.wait(id, soon());
  await host.runtime.start(id, soon());
  t.is((await next).exitCode, 9);
  for await (const event of events) {
    if (event.kind !== 'exit' || event.id !== id) continue;
    t.is(event.exitCode, 9);
    stop.abort();
  }
  const waiting = await host.create('true');
  const gone = host.runtime.wait(waiting, soon());
  await host.runtime.remove(waiting, { force: false });
  await t.throwsAsync(gone, { message: /No such container/ });
  await host.runtime.remove(id, { force: false });
});

test.serial('a terminal has one stream and keeps a shell alive', async (t) => {
  const tty = await host.outputOf('tty; echo err >&2; exit 0', { tty: true });
  t.deepEqual(tty, ['1/dev/pts/0\r', '1err\r']);
  const closed = await host.run('', { cmd: ['/bin/sh'] });
  t.is((await host.runtime.wait(closed, soon())).exitCode, 0, 'a shell without stdin ends');
  const open = await host.run('', { cmd: ['/bin/sh'], tty: true, openStdin: true });
  t.is((await host.exec(open, 'usleep 100000; ls /proc/1/cwd/bin/sh')).code, 0);
  t.is((await host.runtime.get(open))?.state.status, 'running');
  for (const each of [open, closed]) await host.runtime.remove(each, { force: true });
});

test.serial('an own init reaps and passes signals on', async (t) => {
  const id = await host.run('trap "exit 7" TERM; cat /proc/1/comm; while :; do sleep 0.1; done', {
    init: true,
  });
  while ((await host.output(id, { follow: false })).length < 1) await new Promise(setImmediate);
  t.deepEqual(await host.output(id, { follow: false }), ['1docker-init']);
  await host.runtime.kill(id, 15);
  t.is((await host.runtime.wait(id, soon())).exitCode, 7);
  await host.runtime.remove(id, { force: false });
});

test.serial(
  'many starts at once all succeed; those given up in line are not started',
  async (t) => {
    const ids = await Promise.all(Array.from({ length: 12 }, () => host.create('exec sleep 60')));
    const giveUp = new AbortController();
    const starts = ids.map((id, n) => host.runtime.start(id, n < 8 ? soon() : giveUp.signal));
    giveUp.abort(new Error('not wanted'));
    const results = await Promise.allSettled(starts);
    t.is(results.slice(0, 8).filter(({ status }) => status === 'fulfilled').length, 8);
    const states = await Promise.all(ids.map(async (id) => (await host.runtime.get(id))?.state));
    t.is(states.filter((state) => state?.status === 'running').length, 8);
    t.true(states.slice(8).every((state) => state?.status === 'created'));
    await Promise.all(ids.map((id) => host.runtime.remove(id, { force: true })));
  },
);

test.serial('a forced removal during a start wins', async (t) => {
  const id = await host.create('exec sleep 60');
  const started = host.runtime.start(id, soon()).catch(() => undefined);
  await host.runtime.remove(id, { force: true });
  await started;
  t.is(await host.runtime.get(id), undefined);
});
