// What a container costs: N containers of one image made, started and removed through ContainerdRuntime, on a
// private containerd. Needs root and busybox-static.
//   node test/bench/container-starts.ts [--count 50] [--concurrency 4] [--group N] [--native] [--oci-runtime runc] [--rounds 3]
// Prints a line per round: rate, CPU per container of containerd + shims + OCI runtime + container (its cgroup)
// and of this process, and memory per running container (PSS of shims and log helpers).
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parseCgroupMounts, parseKeyed } from '../../agent/runtime/cgroup.ts';
import { Limiter } from '../../agent/runtime/limiter.ts';
import { containerConfig } from '../support/container-config.ts';
import { busyboxRootfs, TestContainerd } from '../support/containerd.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '50' },
    concurrency: { type: 'string', default: '4' },
    group: { type: 'string', default: '0' },
    rounds: { type: 'string', default: '3' },
    'oci-runtime': { type: 'string', default: 'runc' },
    native: { type: 'boolean', default: false },
  },
});
const count = Number(values.count);
const concurrency = Number(values.concurrency);
const groupSize = Number(values.group);

const mounts = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
const root = mounts.version === 2 ? mounts.root : (mounts.roots.cpuacct ?? '');

const daemon = await TestContainerd.start();
const own = `${root}${daemon.cgroupParent}`;
mkdirSync(`${own}/sys`, { recursive: true });
writeFileSync(`${own}/sys/cgroup.procs`, String(daemon.pid));

/** All CPU time of the daemon's side so far, ms. */
function cpuMs(): number {
  if (mounts.version === 1) return Number(readFileSync(`${own}/cpuacct.usage`, 'utf8')) / 1e6;
  return (parseKeyed(readFileSync(`${own}/cpu.stat`, 'utf8')).get('usage_usec') ?? 0) / 1e3;
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

/** PSS of the shims and log helpers, KiB. */
function helpersKib(): number {
  let sum = 0;
  for (const line of daemon.processes()) {
    const text = readFileSync(`/proc/${line.split(' ')[0]}/smaps_rollup`, 'utf8');
    sum += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  }
  return sum;
}

async function measured(work: () => Promise<void>) {
  const before = { at: performance.now(), cpu: cpuMs(), own: ownCpuMs() };
  await work();
  const seconds = (performance.now() - before.at) / 1000;
  return {
    rate: count / seconds,
    cpu: (cpuMs() - before.cpu) / count,
    own: (ownCpuMs() - before.own) / count,
  };
}

const show = (m: { rate: number; cpu: number; own: number }) =>
  `${m.rate.toFixed(1)}/s, ${m.cpu.toFixed(1)} + ${m.own.toFixed(1)} ms CPU each`;

try {
  const signal = new AbortController().signal;
  const images = daemon.images();
  const image = await images.import(busyboxRootfs(), {
    reference: 'box:1',
    message: '',
    changes: [],
    signal,
  });
  let made = 0;
  const runtime = await daemon.runtime({
    cgroupParent: `${daemon.cgroupParent}/ctr`,
    startConcurrency: concurrency,
    ociRuntime: values['oci-runtime'],
    nativeSystemCallsOnly: values.native,
    ...(groupSize > 1 ? { shimGroup: () => `bench-${Math.floor(made++ / groupSize)}` } : {}),
  });
  for (let round = 1; round <= Number(values.rounds); round += 1) {
    const configs = Array.from({ length: count }, () =>
      containerConfig('', {
        cmd: ['/bin/sleep', '1000'],
        chainId: image.chainId,
        imageId: image.id,
      }),
    );
    const width = new Limiter(concurrency);
    const all = (work: (id: string, config: (typeof configs)[number]) => Promise<unknown>) =>
      Promise.all(configs.map((config) => width.run(() => work(config.id, config)))).then(
        () => undefined,
      );
    const started = await measured(() =>
      all(async (id, config) => {
        await images.ensure('box:1', undefined, signal);
        await runtime.create(config, image, [], signal);
        await runtime.start(id, signal);
      }),
    );
    const memory = helpersKib() / count;
    const removed = await measured(() => all((id) => runtime.remove(id, { force: true })));
    console.log(
      `round ${round}: start ${show(started)}; remove ${show(removed)}; ${(memory / 1024).toFixed(2)} MiB each`,
    );
  }
} finally {
  await daemon.stop();
  for (const folder of ['ctr', 'sys']) removeEverywhere(`${daemon.cgroupParent}/${folder}`);
  removeEverywhere(daemon.cgroupParent);
  process.exitCode = 0;
}

function removeEverywhere(path: string): void {
  for (const name of ['', ...readdirSync('/sys/fs/cgroup')]) {
    try {
      rmdirSync(`/sys/fs/cgroup/${name}${path}`);
    } catch {
      // Not in this hierarchy.
    }
  }
}
