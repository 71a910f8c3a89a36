/**
 * Lines of JSON about writes in, a table of the best rep of each system and number of clients out, then
 * all other figures of managers as they came. For store-beside-etcd.sh.
 */
import { text } from 'node:stream/consumers';

type Figure = Readonly<{
  system?: string;
  members?: number;
  scenario?: string;
  clients?: number;
  n?: number;
  per_second?: number;
  p50_ms?: number;
  p99_ms?: number;
  cpu_servers?: number;
}>;

const figures = (await text(process.stdin))
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line) => JSON.parse(line) as Figure);
const puts = figures.filter(
  ({ members, scenario }) => members === 3 && /^(etcd_)?put_x\d+$/.test(scenario ?? ''),
);

const columns = ['clients', 'system', 'writes/s', 'p50 ms', 'p99 ms', 'CPU ms/write', 'of etcd'];
const rows = [...new Set(puts.map(({ clients }) => clients ?? 0))].flatMap((clients) => {
  const etcd = best('etcd', clients);
  return [etcd, best('shoal', clients)].flatMap((figure) => {
    if (figure === undefined) return [];
    const { system = '', per_second = 0, p50_ms = 0, p99_ms = 0, cpu_servers = 0, n = 1 } = figure;
    const ratio = etcd?.per_second ? (per_second / etcd.per_second).toFixed(2) : '';
    const cpu = ((1_000 * cpu_servers) / n).toFixed(3);
    const cells = [clients, system, per_second.toFixed(0), p50_ms, p99_ms, cpu, ratio];
    return [cells.map((cell) => String(cell))];
  });
});
for (const row of [columns, ...rows]) console.log(row.map((cell) => cell.padEnd(14)).join(''));
for (const figure of figures) {
  if (figure.system === 'shoal' && !puts.includes(figure)) console.log(JSON.stringify(figure));
}

/** The rep with most writes: what others do on the machine only ever takes away. */
function best(system: string, clients: number): Figure | undefined {
  const reps = puts.filter((one) => one.system === system && one.clients === clients);
  return reps.sort((a, b) => (b.per_second ?? 0) - (a.per_second ?? 0))[0];
}
