// What it costs to measure the containers of a host once a second, as a share of one core:
//   node test/bench/sampling.ts [CONTAINERS [SECONDS]]
// The cgroups are real ones, made below one of their own in each tree and removed at the end; the containers' networks
// are those of ten processes in namespaces of their own. Requests are read from sets of one counter for each container
// in a namespace of its own. Counted is the CPU time of this process (reading, parsing, encoding; without gRPC) and
// of the tool that reads the sets. Needs root.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NftReader } from '../../agent/network/io/shells.ts';
import { parseCounters } from '../../agent/network/parse.ts';
import type { TaskTraffic } from '../../agent/network/types.ts';
import { cgroupMounts } from '../../agent/runtime/io/cgroup-files.ts';
import { ContainerReader } from '../../agent/signals/io/container-reader.ts';
import { Sampler } from '../../agent/signals/sampler.ts';
import type { MeasuredTask } from '../../agent/signals/types.ts';
import { TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import { newId } from '../../shared/ids.ts';
import { systemClock, systemRandom } from '../../shared/io/system.ts';
import { silentLog } from '../../shared/log.ts';

const count = Number(process.argv[2] ?? 500);
const seconds = Number(process.argv[3] ?? 20);
const WARM_UP_MS = 3_500;
const NETWORKS = 10;
const TICKS_PER_S = 100;
const SETS = ['requests', 'replies', 'connections'];

const name = `shoal-bench-${process.pid}`;
const namespace = `shb${process.pid}`;
const mounts = cgroupMounts();
const roots =
  mounts.version === 2
    ? [mounts.root]
    : [mounts.roots.cpuacct, mounts.roots.memory, mounts.roots.pids].flatMap((root) => root ?? []);
const containers = Array.from({ length: count }, () => newId(systemRandom).repeat(2));
const addresses = containers.map((_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
const tasks = containers.map((containerId): MeasuredTask & { containerId: string } => ({
  taskId: newId(systemRandom),
  serviceId: newId(systemRandom),
  containerId,
  resources: true,
  requests: true,
}));
const processes: ChildProcess[] = [];
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function setUp(): void {
  for (const root of roots) {
    mkdirSync(join(root, name));
    for (const id of containers) mkdirSync(join(root, name, id));
  }
  for (let i = 0; i < NETWORKS; i++) {
    const child = spawn('/usr/bin/unshare', ['--net', 'sleep', '1000'], { env, stdio: 'ignore' });
    processes.push(child);
    for (const root of roots) {
      writeFileSync(join(root, name, containers[i] ?? '', 'cgroup.procs'), String(child.pid));
    }
  }
  execFileSync('ip', ['netns', 'add', namespace], { env });
  const elements = addresses.join(', ');
  const sets = SETS.map(
    (set) => `set ${set} { type ipv4_addr; counter; elements = { ${elements} }; }`,
  );
  execFileSync('nsenter', [`--net=/run/netns/${namespace}`, 'nft', '-f', '-'], {
    env,
    input: `table ip sw {\n${sets.join('\n')}\n}\n`,
  });
}

async function tearDown(): Promise<void> {
  const ends = processes.map(
    (child) => new Promise((resolve) => child.once('exit', resolve) && child.kill('SIGKILL')),
  );
  await Promise.all(ends);
  for (const root of roots) {
    for (const id of [...containers, '']) {
      for (let tries = 0; tries < 100; tries++) {
        try {
          rmdirSync(join(root, name, id));
          break;
        } catch {
          await pause(20); // a process that was killed leaves its cgroup some time later
        }
      }
    }
  }
  execFileSync('ip', ['netns', 'del', namespace], { env });
}

/** CPU of children that run now; `sleep` uses none. */
function childrenMs(): number {
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(fields[1]) === process.pid) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended meanwhile.
      ticks += 0;
    }
  }
  return (ticks * 1_000) / TICKS_PER_S;
}

setUp();
try {
  const reader = new NftReader(systemClock, namespace);
  let bytes = 0;
  let samples = 0;
  const sampler = new Sampler({
    measured: () => tasks,
    reader: new ContainerReader(mounts, `/${name}`),
    pidOf: async (id) => processes[containers.indexOf(id) % NETWORKS]?.pid,
    meter: {
      count: () => undefined,
      traffic: async () => {
        const [requests, replies, connections] = (await reader.sets('sw', SETS)).map(parseCounters);
        return new Map(
          tasks.map(({ taskId }, i): [string, TaskTraffic] => {
            const address = addresses[i] ?? '';
            const of = (counters: Map<string, number> | undefined) => counters?.get(address) ?? 0;
            return [
              taskId,
              { requests: of(requests), replies: of(replies), connections: of(connections) },
            ];
          }),
        );
      },
    },
    send: (message) => {
      bytes += TaskSamples.encode(message).finish().length;
      samples += message.samples.length;
    },
    clock: systemClock,
    log: silentLog,
  });
  sampler.refresh();
  await pause(WARM_UP_MS);
  const [begunMs, own, tool] = [performance.now(), process.cpuUsage(), childrenMs()];
  bytes = 0;
  samples = 0;
  await pause(seconds * 1_000);
  const used = process.cpuUsage(own);
  const [ownMs, toolMs] = [(used.user + used.system) / 1_000, childrenMs() - tool];
  const passedMs = performance.now() - begunMs;
  const share = (ms: number) => `${((100 * ms) / passedMs).toFixed(2)} %`;
  const rounds = samples / count;
  console.log(`cgroups v${mounts.version}, ${count} containers, ${rounds} rounds`);
  console.log(`of one core: ${share(ownMs + toolMs)} (${share(ownMs)} own, ${share(toolMs)} nft)`);
  console.log(
    `each round: ${((ownMs + toolMs) / rounds).toFixed(1)} ms, ${(bytes / rounds / count).toFixed(0)} bytes a container`,
  );
  await sampler.close();
  await reader.close();
} finally {
  await tearDown();
}
process.exit(0);
