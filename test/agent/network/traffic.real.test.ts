import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { Knocking, TaskTraffic, Wiring } from '../../../agent/network/types.ts';
import { sh, type TestHost, UNDERLAY, Underlay } from './support/underlay.ts';
import type { PlainView } from './support/views.ts';

// Two hosts on a switch, a client outside; tasks are programs in the namespaces that the data planes made.

const underlay = new Underlay();
const NODE = process.execPath;
const support = (name: string) => new URL(`./support/${name}`, import.meta.url).pathname;
const APP = 'netapp0000000000000000001';
const INGRESS = 'netingress000000000000001';
const WEB = 'web200000000000000000000';
const CLIENT = 'cli100000000000000000000';
const ZERO = 'zero10000000000000000000';
const WEB_VIP = '10.81.1.2';
const ZERO_VIP = '10.81.1.3';
const NONE_VIP = '10.81.1.4';

type Container = { netns: string; wiring: Wiring };
let revision = 0;
let isUp = false;
let web: Container;
let client: Container;

type Services = PlainView['services'];
const onBoth = (
  service: Pick<Services[number], 'id' | 'name' | 'hold'>,
  addresses: { vip: string; ingressVip: string },
  published: number,
  tasks: readonly { id: string; node: string; host: string; ready: boolean }[],
): Services =>
  [APP, INGRESS].map((network) => ({
    ...service,
    network,
    vip: network === APP ? addresses.vip : addresses.ingressVip,
    ports:
      network === INGRESS
        ? [
            [published, 8000, 'tcp'],
            [published, 8000, 'udp'],
          ]
        : [],
    tasks: tasks.map(({ host, ...task }) => ({
      ...task,
      address: `${network === APP ? '10.81.1' : '10.81.0'}.${host}`,
    })),
  }));

const view = (): PlainView => ({
  revision: ++revision,
  networks: [
    { id: APP, name: 'app', vni: 4197, subnet: '10.81.1.0/24' },
    { id: INGRESS, name: 'ingress', vni: 4196, subnet: '10.81.0.0/24', ingress: true },
  ],
  hosts: [1, 2].map((i) => ({ id: `node${i}`, address: `${UNDERLAY}.${i}` })),
  services: [
    ...onBoth({ id: 'web', name: 'web' }, { vip: WEB_VIP, ingressVip: '10.81.0.2' }, 8080, [
      { id: WEB, node: 'node2', host: '12', ready: true },
    ]),
    ...onBoth(
      { id: 'zero', name: 'zero', hold: true },
      { vip: ZERO_VIP, ingressVip: '10.81.0.3' },
      8081,
      [{ id: ZERO, node: 'node1', host: '13', ready: isUp }],
    ),
    ...onBoth({ id: 'cli', name: 'cli' }, { vip: '', ingressVip: '' }, 8082, [
      { id: CLIENT, node: 'node1', host: '14', ready: true },
    ]),
    { id: 'none', name: 'none', network: APP, vip: NONE_VIP, tasks: [] },
  ],
});
const task = (taskId: string, serviceId: string, host: string) => ({
  taskId,
  serviceId,
  attachments: [
    { networkId: APP, address: `10.81.1.${host}/24` },
    { networkId: INGRESS, address: `10.81.0.${host}/24` },
  ],
});

async function started(netns: string, script: string, ...args: string[]) {
  const child = underlay.start(netns, NODE, support(script), ...args);
  await new Promise((ready) => child.stdout?.once('data', ready));
  return child;
}

const traffic = (host: TestHost) => host.call<Record<string, TaskTraffic>>('traffic');
const knocksFor = async (host: TestHost, serviceId: string) =>
  (await host.call<Knocking[]>('knocks'))
    .filter((knock) => knock.serviceId === serviceId)
    .reduce((sum, { total }) => sum + total, 0);

async function load(netns: string, address: string, port: number, requests: number, over: number) {
  const args = [address, port, requests, over].map(String);
  return Number(await sh('nsenter', `--net=${netns}`, NODE, support('http-load.mjs'), ...args));
}

/** A client that tries until it is answered. */
async function knock(netns: string, protocol: string, address: string, port: number) {
  const child = underlay.start(netns, NODE, support('knock.mjs'), protocol, address, String(port));
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const end = new Promise((resolve) => child.once('close', resolve));
  while (!text.includes('trying\n')) await sleep(20);
  return {
    answered: async (): Promise<{ answer: string; afterMs: number }> => {
      await end;
      return JSON.parse(text.split('\n')[1] ?? '{}');
    },
  };
}

test.before(async () => {
  await underlay.up(2);
  await Promise.all(underlay.hosts.map((host) => host.call('adopt', [])));
  await underlay.setView(view());
  web = await underlay.host(2).attach(task(WEB, 'web', '12'));
  client = await underlay.host(1).attach(task(CLIENT, 'cli', '14'));
  await started(web.netns, 'http-server.mjs', '8000');
});

test.after.always(() => underlay.down());

test.serial('requests and connections are counted once, on the host of the task', async (t) => {
  const [first, second] = [underlay.host(1), underlay.host(2)];
  await first.call('count', [CLIENT]);
  await second.call('count', [WEB]);
  await underlay.setView(view());
  t.deepEqual(await traffic(second), { [WEB]: { requests: 0, replies: 0, connections: 0 } });

  t.is(await load(client.netns, WEB_VIP, 8000, 2_000, 10), 2_000);
  t.deepEqual(await traffic(second), {
    [WEB]: { requests: 2_000, replies: 2_000, connections: 10 },
  });
  // By the routing mesh: the host that has no task sends it on.
  t.is(await load(underlay.client, `${UNDERLAY}.1`, 8080, 500, 5), 500);
  t.is(await load(underlay.client, `${UNDERLAY}.2`, 8080, 500, 1), 500);
  t.deepEqual(await traffic(second), {
    [WEB]: { requests: 3_000, replies: 3_000, connections: 16 },
  });
  t.deepEqual(
    await traffic(first),
    { [CLIENT]: { requests: 0, replies: 0, connections: 0 } },
    'what a task asks of others is no load of its own',
  );
});

test.serial('what is not asked for is not counted any more', async (t) => {
  await underlay.host(2).call('count', []);
  await underlay.setView(view());
  t.deepEqual(await traffic(underlay.host(2)), {});
  const sets = await underlay
    .host(2)
    .run(
      'nsenter',
      `--net=/run/netns/sw-n-${APP.slice(0, 8)}`,
      ...'nft list set ip sw requests'.split(' '),
    );
  t.notRegex(sets, /elements/);
});

test.serial(
  'clients of a service at zero are held, counted, and answered by its task',
  async (t) => {
    const host = `/run/netns/${underlay.host(1).netns}`;
    t.true(await underlay.host(1).call('isHolding'));
    const ways: [string, string, string, number][] = [
      ['outside, by the host of the task', underlay.client, `${UNDERLAY}.1`, 8081],
      ['outside, by the other host', underlay.client, `${UNDERLAY}.2`, 8081],
      ['a container, by the VIP', client.netns, ZERO_VIP, 8000],
      ['the host itself', host, `${UNDERLAY}.1`, 8081],
      ['the host itself, by 127.0.0.1', host, '127.0.0.1', 8081],
    ];
    const tries = await Promise.all(
      ways.flatMap(([way, netns, address, port]) =>
        ['tcp', 'udp'].map(async (protocol) => ({
          way: `${protocol}, ${way}`,
          ...(await knock(netns, protocol, address, port)),
        })),
      ),
    );
    await sleep(200);
    // TCP and UDP each: three ways of them by ports of the first host, one by its network, one by the second.
    t.true((await knocksFor(underlay.host(1), 'zero')) >= 8);
    t.true((await knocksFor(underlay.host(2), 'zero')) >= 2);

    const zero = await underlay.host(1).attach(task(ZERO, 'zero', '13'));
    await started(zero.netns, 'echo.mjs', 'zero', '8000');
    isUp = true;
    await underlay.setView(view());
    for (const { way, answered } of tries) {
      const { answer, afterMs } = await answered();
      t.regex(answer, /^zero /, way);
      t.log(`${way}: ${Math.round(afterMs)} ms`);
    }
    t.false(await underlay.host(1).call('isHolding'));
    t.is(await knocksFor(underlay.host(1), 'zero'), 0);
  },
);

test.serial('going to zero again leaves open connections alone and holds new ones', async (t) => {
  const hold = underlay.start(client.netns, NODE, support('hold.mjs'), ZERO_VIP, '8000', '4');
  const lines: string[] = [];
  hold.stdout?.on('data', (chunk) => lines.push(...String(chunk).trim().split('\n')));
  const until = async (count: number) => {
    while (lines.length < count) await sleep(50);
    return JSON.parse(lines[count - 1] ?? '{}');
  };
  t.deepEqual((await until(1)).opened, ['zero']);
  isUp = false;
  await underlay.setView(view());
  const late = await knock(client.netns, 'tcp', ZERO_VIP, 8000);
  hold.stdin?.write('again\n');
  t.is((await until(2)).echoed, 4);
  hold.kill();
  await sleep(300);
  t.true((await knocksFor(underlay.host(1), 'zero')) > 0);
  isUp = true;
  await underlay.setView(view());
  t.regex((await late.answered()).answer, /^zero /);
});

test.serial('a service that is not to be held is refused, as before', async (t) => {
  const { answer } = await (await knock(client.netns, 'tcp', NONE_VIP, 80)).answered();
  t.is(answer, 'ECONNREFUSED');
});
