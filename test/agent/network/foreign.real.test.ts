import test from 'ava';
import { sh, UNDERLAY, Underlay } from './support/underlay.ts';
import type { PlainView } from './support/views.ts';

// Two hosts and a client. The first has Docker's kind of filter, in iptables; the second one in native nftables.

const underlay = new Underlay();
const NODE = process.execPath;
const support = (name: string) => new URL(`./support/${name}`, import.meta.url).pathname;
const INGRESS = 'netingress000000000000001';
const task = (i: number) => `web${i}0000000000000000000000`;

const VIEW: PlainView = {
  revision: 1,
  networks: [{ id: INGRESS, name: 'ingress', vni: 4096, subnet: '10.80.0.0/24', ingress: true }],
  hosts: [1, 2].map((i) => ({ id: `node${i}`, address: `${UNDERLAY}.${i}` })),
  services: [
    {
      id: 'web',
      name: 'web',
      network: INGRESS,
      vip: '10.80.0.2',
      ports: [[8080, 8000, 'tcp']],
      tasks: [1, 2].map((i) => ({
        id: task(i),
        node: `node${i}`,
        address: `10.80.0.1${i}`,
        ready: true,
      })),
    },
  ],
};
const localTask = (i: number) => ({
  taskId: task(i),
  serviceId: 'web',
  hostname: `web${i}`,
  attachments: [{ networkId: INGRESS, address: `10.80.0.1${i}/24` }],
  hostPorts: [],
});
const iptables = (...words: string[]) => underlay.host(1).run('iptables', ...words);

async function ask(host: number, count: number): Promise<string[]> {
  const args = [`--net=${underlay.client}`, NODE, support('ask.mjs'), 'tcp', `${UNDERLAY}.${host}`];
  const answers: string[] = JSON.parse(await sh('nsenter', ...args, '8080', String(count)));
  return [...new Set(answers.map((answer) => answer.split(' ')[0] ?? ''))].sort();
}

test.before(async () => {
  await underlay.up(2);
  await iptables('-P', 'FORWARD', 'DROP');
  await iptables('-P', 'INPUT', 'DROP');
  // What every such host has, or nothing of it would work.
  await iptables('-A', 'INPUT', '-i', 'eth0', '-j', 'ACCEPT');
  await iptables('-A', 'INPUT', '-m', 'state', '--state', 'ESTABLISHED', '-j', 'ACCEPT');
  await iptables('-N', 'DOCKER-USER');
  await iptables('-A', 'FORWARD', '-j', 'DOCKER-USER');
  await underlay
    .host(2)
    .run(
      '/usr/sbin/nft',
      'add table inet fw; add chain inet fw forwarding { type filter hook forward priority 0; policy drop; }',
    );
});
test.after.always(() => underlay.down());

test.serial('published ports and names pass the filters of iptables', async (t) => {
  await Promise.all(underlay.hosts.map((host) => host.call('adopt', [])));
  await underlay.setView(VIEW);
  for (const i of [1, 2]) {
    const { netns } = await underlay.host(i).attach(localTask(i));
    const child = underlay.start(netns, NODE, support('echo.mjs'), `web${i}`, '8000');
    await new Promise((ready) => child.stdout?.once('data', ready));
    if (i === 1) {
      const code = `const { Resolver } = require('dns').promises;
        const resolver = new Resolver({ timeout: 2000, tries: 1 });
        resolver.setServers(['127.0.0.11']);
        resolver.resolve4('web').then((found) => console.log(found.join()), (error) => console.log(error.code));`;
      // The name server's own answer: nobody is there whom it could ask. A filter would leave it at ETIMEOUT.
      t.is(await sh('nsenter', `--net=${netns}`, NODE, '-e', code), 'ESERVFAIL\n');
    }
  }
  t.deepEqual(await ask(1, 20), ['web1', 'web2']);
  t.is(
    await iptables('-S', 'FORWARD'),
    '-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n-A FORWARD -o sw-+ -j ACCEPT\n-A FORWARD -i sw-+ -j ACCEPT\n',
  );
  t.deepEqual(await underlay.host(1).call('warnings'), []);
});

test.serial('a native filter is left alone, and what to do is said', async (t) => {
  const [warning = '', ...others] = await underlay.host(2).call<string[]>('warnings');
  t.deepEqual(others, []);
  t.regex(warning, /^chain forwarding of table inet fw drops traffic of services/);
  t.deepEqual(await ask(2, 2), ['TIMEOUT']);
  // As it says.
  for (const command of warning.slice(warning.indexOf(': ') + 2).split('; ')) {
    await underlay.host(2).run('/usr/sbin/nft', ...command.split(' ').slice(1));
  }
  t.deepEqual(await ask(2, 20), ['web1', 'web2']);
});

test.serial(
  'a filter of iptables-legacy that came later is passed after the next look',
  async (t) => {
    const host = underlay.host(2);
    await host.run('iptables-legacy', '-P', 'FORWARD', 'DROP');
    t.deepEqual(await ask(2, 2), ['TIMEOUT']);
    await host.crash();
    await host.start();
    await host.call('adopt', [localTask(2)]);
    await underlay.setView({ ...VIEW, revision: 2 });
    t.deepEqual(await ask(2, 20), ['web1', 'web2']);
    await host.call('removeAll');
    t.notRegex(await host.run('iptables-legacy', '-S'), /sw-/);
  },
);

test.serial('removeAll() leaves the filters as they were', async (t) => {
  await underlay.host(1).call('removeAll');
  t.is(await iptables('-S', 'FORWARD'), '-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n');
  t.notRegex(await iptables('-S', 'INPUT'), /sw-/);
});
