import test from 'ava';
import {
  buildSpec,
  DEFAULT_PATH,
  execProcess,
  type HostFacts,
} from '../../../agent/runtime/spec.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { containerConfig, EXEC } from '../../support/container-config.ts';

const HOST: HostFacts = {
  architecture: 'x64',
  cgroupVersion: 1,
  swapLimit: true,
  nativeSystemCallsOnly: false,
  apparmorProfile: undefined,
  cgroupParent: '/shoal',
  initPath: '/usr/bin/tini-static',
};
const PATHS = {
  hostname: '/s/hostname',
  hosts: '/s/hosts',
  resolvConf: '/s/resolv.conf',
  files: [],
};
const USERS = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/:\n',
  group: 'root:x:0:\nweb:x:1001:\nlog:x:5:web\n',
};
const build = (fields: Parameters<typeof containerConfig>[1] = {}, host: Partial<HostFacts> = {}) =>
  buildSpec(containerConfig('true', fields), { ...HOST, ...host }, PATHS, USERS);

test('a container that asks for nothing has the defaults of Docker', (t) => {
  const spec = build({ id: 'c0ffee'.padEnd(64, '0') });
  const names = `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
    NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE`.split(/\s+/);
  const held = names.map((name) => `CAP_${name}`);
  t.deepEqual(spec.process.capabilities, { bounding: held, effective: held, permitted: held });
  t.deepEqual(spec.process.env, [DEFAULT_PATH, 'HOSTNAME=c0ffee000000']);
  t.is(spec.hostname, 'c0ffee000000');
  t.is(spec.process.cwd, '/');
  t.is(spec.process.noNewPrivileges, undefined);
  t.is(spec.process.rlimits, undefined);
  t.deepEqual(spec.process.user, { uid: 0, gid: 0, additionalGids: [0] });
  t.deepEqual(
    spec.linux.namespaces.map(({ type }) => type),
    ['mount', 'uts', 'pid', 'ipc', 'network'],
  );
  t.is(spec.linux.cgroupsPath, `/shoal/${'c0ffee'.padEnd(64, '0')}`);
  t.deepEqual(Object.keys(spec.linux.resources), ['devices']);
  t.false(spec.linux.resources.devices[0]?.allow);
  t.true(spec.linux.maskedPaths.includes('/proc/kcore'));
  t.true(spec.linux.readonlyPaths.includes('/proc/sys'));
});

test('the network is a path, the host or a namespace of its own', (t) => {
  const path = build({ network: { mode: 'netns', path: '/run/netns/x', endpoints: [] } });
  t.deepEqual(path.linux.namespaces.at(-1), { type: 'network', path: '/run/netns/x' });
  t.is(path.linux.sysctl['net.ipv4.ip_unprivileged_port_start'], '0');
  const host = build({ network: { mode: 'host' }, sysctls: { 'kernel.shm_rmid_forced': '1' } });
  t.false(host.linux.namespaces.some(({ type }) => type === 'network'));
  t.deepEqual(host.linux.sysctl, { 'kernel.shm_rmid_forced': '1' });
});

test('limits are the same whatever the cgroup version, swap only where it can be limited', (t) => {
  const resources = {
    nanoCpus: 1_500_000_000,
    memoryBytes: 64 << 20,
    memoryReservationBytes: 32 << 20,
    pids: 100,
  };
  const { devices: _, ...limits } = build({ resources }).linux.resources;
  t.deepEqual(limits, {
    memory: { limit: 64 << 20, swap: 128 << 20, reservation: 32 << 20 },
    cpu: { quota: 150_000, period: 100_000 },
    pids: { limit: 100 },
  });
  t.is(build({ resources }, { swapLimit: false }).linux.resources.memory?.swap, undefined);
  const v2 = build({ resources }, { cgroupVersion: 2 });
  t.deepEqual({ ...v2.linux.resources, devices: _ }, { ...limits, devices: _ });
  t.true(v2.linux.namespaces.some(({ type }) => type === 'cgroup'));
});

test('another user keeps only the bounding set and gets its groups', (t) => {
  const { user, capabilities } = build({ user: 'web' }).process;
  t.deepEqual(user, { uid: 1000, gid: 1001, additionalGids: [1001, 5] });
  t.is(capabilities.effective, undefined);
  t.is(capabilities.bounding.length, 14);
});

test('tini comes before the command and is bound read-only', (t) => {
  const spec = build({ init: true, entrypoint: ['/a'], cmd: ['b'] });
  t.deepEqual(spec.process.args, ['/sbin/docker-init', '--', '/a', 'b']);
  const mount = spec.mounts.find(({ destination }) => destination === '/sbin/docker-init');
  t.is(mount?.source, HOST.initPath);
  t.true(mount?.options.includes('ro'));
});

test('mounts come in the order of their depth, and replace the default ones', (t) => {
  const { mounts } = build({
    mounts: [
      {
        type: 'volume',
        name: 'v',
        source: '/v',
        target: '/data/inner/',
        readOnly: true,
        driver: '',
      },
      { type: 'tmpfs', target: '/data', readOnly: false, sizeBytes: 4096, mode: 0 },
      { type: 'tmpfs', target: '/dev/shm', readOnly: false, sizeBytes: 1 << 20, mode: 0o700 },
      {
        type: 'bind',
        source: '/h',
        target: '/etc/hosts',
        readOnly: false,
        propagation: 'rslave',
        recursive: false,
      },
    ],
  });
  const at = (path: string) => mounts.findIndex(({ destination }) => destination === path);
  t.true(at('/data') < at('/data/inner'));
  t.deepEqual(mounts[at('/data/inner')]?.options, ['rbind', 'rprivate', 'ro']);
  t.true(mounts[at('/data')]?.options.includes('mode=1777'));
  t.true(mounts[at('/data')]?.options.includes('size=4096'));
  t.deepEqual(
    mounts.filter(({ destination }) => destination === '/dev/shm').map(({ options }) => options[4]),
    ['mode=700'],
  );
  t.deepEqual(
    mounts.filter(({ destination }) => destination === '/etc/hosts').map(({ source }) => source),
    ['/h'],
  );
  t.deepEqual(mounts[at('/etc/hosts')]?.options, ['bind', 'rslave']);
});

test('what cannot run is refused with words', (t) => {
  const refused = (run: () => unknown) => {
    const error = t.throws(run);
    t.true(isShoalError(error, 'invalid-argument'));
    return error?.message;
  };
  t.is(
    refused(() => build({ cmd: [] })),
    'no command specified',
  );
  t.regex(refused(() => build({ capabilityAdd: ['FLY'] })) ?? '', /unknown capability "FLY"/);
  t.regex(refused(() => build({ user: 'bob' })) ?? '', /unable to find user bob/);
});

test('ulimits, oom score and AppArmor are passed on', (t) => {
  const { process } = build(
    { ulimits: [{ name: 'nofile', soft: 1, hard: 2 }], oomScoreAdj: 300 },
    { apparmorProfile: 'docker-default' },
  );
  t.deepEqual(process.rlimits, [{ type: 'RLIMIT_NOFILE', soft: 1, hard: 2 }]);
  t.is(process.oomScoreAdj, 300);
  t.is(process.apparmorProfile, 'docker-default');
});

test('a further process takes after the first one', (t) => {
  const first = build({ user: 'web', env: ['A=1'], tty: true, workingDir: '/w' }).process;
  const exec = { ...EXEC, cmd: ['ls'], env: ['A=2'] };
  const plain = execProcess(first, exec, USERS, ['CAP_X']);
  t.is(plain.terminal, undefined);
  t.is(plain.cwd, '/w');
  t.deepEqual(plain.user, first.user);
  t.true(plain.env.includes('A=2'));
  const root = execProcess(first, { ...exec, user: 'root', privileged: true }, USERS, ['CAP_X']);
  t.deepEqual(root.capabilities, {
    bounding: ['CAP_X'],
    effective: ['CAP_X'],
    permitted: ['CAP_X'],
  });
  t.throws(() => execProcess(first, { ...exec, cmd: [] }, USERS, []), {
    message: 'No exec command specified',
  });
});
