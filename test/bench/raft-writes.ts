/**
 * Writes per second through three managers in this process, each with its consensus thread, over
 * mutual TLS on loopback and synced disks. Prints a table; asserts nothing.
 *
 *     node test/bench/raft-writes.ts [seconds per row, default 3] [clients...]
 */
import { startWorkerConsensus } from '../../manager/raft/io/start.ts';
import { type Manager, TestCluster } from '../manager/raft/io/harness.ts';

const VALUE_BYTES = 256;
const [secondsText = '3', ...clientTexts] = process.argv.slice(2);
const durationMs = Number(secondsText) * 1_000;
const rows = clientTexts.length > 0 ? clientTexts.map(Number) : [1, 8, 64];

const cluster = await TestCluster.create({ tickMs: 100, starter: startWorkerConsensus });
await cluster.grow(3);
const leader = await cluster.leader();
// The words would fill the memory; what is measured is consensus and not this state machine.
for (const { words } of cluster.managers) words.apply = () => undefined;

console.log('clients   writes/s   p50 ms   p99 ms   reads/s   cpu µs/write (all three managers)');
for (const clients of rows) {
  const write = await measure(clients, () => leader.consensus.propose(new Uint8Array(VALUE_BYTES)));
  const [follower] = cluster.followers();
  const read = await measure(clients, () => (follower as Manager).consensus.readBarrier());
  const cells = [write.perSecond.toFixed(0), write.p50.toFixed(2), write.p99.toFixed(2)];
  const line = [String(clients).padStart(7), cells[0]?.padStart(10), cells[1]?.padStart(8)];
  line.push(cells[2]?.padStart(8), read.perSecond.toFixed(0).padStart(9));
  line.push(write.cpuMicros.toFixed(0).padStart(10));
  console.log(line.join(' '));
}
await cluster.close();

async function measure(clients: number, call: () => Promise<unknown>) {
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const endMs = startMs + durationMs;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let nowMs = performance.now(); nowMs < endMs; ) {
        await call();
        const doneMs = performance.now();
        latencies.push(doneMs - nowMs);
        nowMs = doneMs;
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  const elapsedMs = performance.now() - startMs;
  latencies.sort((a, b) => a - b);
  const at = (ratio: number) => latencies[Math.floor((latencies.length - 1) * ratio)] ?? 0;
  return {
    perSecond: (latencies.length / elapsedMs) * 1_000,
    p50: at(0.5),
    p99: at(0.99),
    cpuMicros: (user + system) / latencies.length,
  };
}
