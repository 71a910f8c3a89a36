// The API over its real socket and the real control plane; the host's containers are played.

import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import anyTest, { type TestFn } from 'ava';
import { EngineHost } from '../../support/engine-host.ts';
import { type HttpOptions, http, httpJson, rawExchange } from '../../support/engine-http.ts';

const test = anyTest as TestFn<{ host: EngineHost }>;

test.before(async (t) => {
  t.context.host = await EngineHost.start();
  t.context.host.runtime.lines.push({
    stream: 1,
    at: '2026-01-01T00:00:00.000000001Z',
    data: new TextEncoder().encode('hello'),
    partial: false,
  });
});
test.after.always((t) => t.context.host.close());

const JSON_TYPE = { 'Content-Type': 'application/json' };
const SPEC = { TaskTemplate: { ContainerSpec: { Image: 'web:1' } } };

async function createService(host: EngineHost, name: string, spec: object = SPEC): Promise<string> {
  const answer = await httpJson(host.socketPath, 'POST', '/services/create', {
    Name: name,
    ...spec,
  });
  if (answer.status !== 201) throw new Error(answer.body);
  return (answer.json as { ID: string }).ID;
}

/** The name of a container of this host that plays a task of the service. */
async function containerOf(host: EngineHost, service: string): Promise<string> {
  for (let tries = 0; tries < 200; tries++) {
    for (const { config, state } of host.runtime.containers.values()) {
      if (config.name.startsWith(`${service}.`) && state.status === 'running') return config.id;
    }
    await delay(20);
  }
  throw new Error(`no container of ${service}`);
}

const ON_THIS_HOST = {
  TaskTemplate: {
    ContainerSpec: { Image: 'web:1' },
    Placement: { Constraints: ['node.role==manager'] },
  },
};

test('the socket is for root and its group', (t) => {
  t.is(statSync(t.context.host.socketPath).mode & 0o777, 0o660);
});

test('every answer names the API version, and a ping the host’s standing', async (t) => {
  const { socketPath } = t.context.host;
  const get = await http(socketPath, 'GET', '/_ping');
  t.is(get.body, 'OK');
  t.like(get.headers, {
    'api-version': '1.48',
    ostype: 'linux',
    swarm: 'active/manager',
    'builder-version': '1',
    'docker-experimental': 'false',
  });
  const head = await http(socketPath, 'HEAD', '/v1.30/_ping');
  t.is(head.status, 200);
  t.is(head.headers['content-length'], '0');
  const error = await http(socketPath, 'GET', '/nope');
  t.is(error.headers['api-version'], '1.48');
});

const BAD: [
  title: string,
  method: string,
  path: string,
  options: HttpOptions,
  status: number,
  words: string,
][] = [
  ['an unknown page', 'GET', '/nope', {}, 404, 'page not found'],
  ['a version from the future', 'GET', '/v1.99/info', {}, 400, 'client version 1.99 is too new'],
  [
    'a body that is not JSON',
    'POST',
    '/services/create',
    { body: '{bad', headers: JSON_TYPE },
    400,
    'invalid JSON: ',
  ],
  [
    'a body with more behind it',
    'POST',
    '/services/create',
    { body: '{} x', headers: JSON_TYPE },
    400,
    'unexpected content after JSON',
  ],
  ['no body', 'POST', '/services/create', {}, 400, 'invalid JSON: got EOF'],
  [
    'another content type',
    'POST',
    '/services/create',
    { body: '{}', headers: { 'Content-Type': 'text/plain' } },
    400,
    'unsupported Content-Type header (text/plain)',
  ],
  [
    'a list for an object',
    'POST',
    '/services/create',
    { body: '[]', headers: JSON_TYPE },
    400,
    'the body must be an object',
  ],
  [
    'a wrong type deep inside',
    'POST',
    '/services/create',
    { body: '{"TaskTemplate":{"Resources":{"Limits":{"NanoCPUs":"1"}}}}', headers: JSON_TYPE },
    400,
    'TaskTemplate.Resources.Limits.NanoCPUs must be a whole number, not a string',
  ],
  [
    'a spec without an image',
    'POST',
    '/services/create',
    { body: '{"Name":"x"}', headers: JSON_TYPE },
    400,
    'rpc error: code = InvalidArgument desc = ',
  ],
  [
    'a field that is not served',
    'POST',
    '/services/create',
    {
      body: '{"TaskTemplate":{"ContainerSpec":{"Privileges":{"SELinuxContext":{"Disable":true}}}}}',
      headers: JSON_TYPE,
    },
    501,
    'ContainerSpec.Privileges.SELinuxContext.Disable',
  ],
  [
    'an endpoint that is not served',
    'POST',
    '/containers/create',
    { body: '{}', headers: JSON_TYPE },
    501,
    'is not supported yet',
  ],
  [
    'a filter that does not exist',
    'GET',
    '/services?filters=%7B%22x%22%3A%5B%22a%22%5D%7D',
    {},
    400,
    "invalid filter 'x'",
  ],
  ['filters that are not JSON', 'GET', '/tasks?filters=%7B', {}, 400, 'invalid filter'],
  ['an unknown service', 'GET', '/services/nope', {}, 404, 'service nope not found'],
  ['an unknown task', 'GET', '/tasks/nope', {}, 404, 'task nope not found'],
  ['an unknown node', 'DELETE', '/nodes/nope', {}, 404, 'node nope not found'],
  ['an unknown network', 'GET', '/networks/nope', {}, 404, 'network nope not found'],
  ['an unknown container', 'GET', '/containers/nope/json', {}, 404, 'No such container: nope'],
  [
    'an unknown image',
    'GET',
    '/images/library/nope:1/json',
    {},
    404,
    'No such image: library/nope:1',
  ],
  ['an unknown exec', 'GET', '/exec/nope/json', {}, 404, 'No such exec instance: nope'],
  ['an unknown plugin', 'GET', '/plugins/nope/json', {}, 404, 'plugin "nope" not found'],
  [
    'a secret that is not base64',
    'POST',
    '/secrets/create',
    { body: '{"Name":"s","Data":"!"}', headers: JSON_TYPE },
    400,
    'Data must be base64',
  ],
  ['a predefined network’s removal', 'DELETE', '/networks/host', {}, 403, 'pre-defined network'],
  [
    'a local network',
    'POST',
    '/networks/create',
    { body: '{"Name":"n","Driver":"bridge"}', headers: JSON_TYPE },
    501,
    '--driver overlay',
  ],
  [
    'a join with a broken token',
    'POST',
    '/swarm/join',
    { body: '{"RemoteAddrs":["1.2.3.4"],"JoinToken":"x"}', headers: JSON_TYPE },
    400,
    'invalid join token',
  ],
  [
    'a second init',
    'POST',
    '/swarm/init',
    { body: '{}', headers: JSON_TYPE },
    503,
    'already part of a swarm',
  ],
  [
    'logs of no stream',
    'GET',
    '/services/nope/logs',
    {},
    400,
    'you must choose at least one stream',
  ],
  [
    'events that end before they begin',
    'GET',
    '/events?since=10&until=5',
    {},
    400,
    '"until" is earlier',
  ],
  [
    'an unlock of what is not locked',
    'POST',
    '/swarm/unlock',
    { body: '{}', headers: JSON_TYPE },
    409,
    'swarm is not locked',
  ],
];
for (const [title, method, path, options, status, words] of BAD) {
  test(`${title} is ${status}: ${words}`, async (t) => {
    const answer = await http(t.context.host.socketPath, method, path, options);
    t.is(answer.status, status, answer.body);
    t.is(answer.headers['content-type'], 'application/json');
    const { message } = JSON.parse(answer.body);
    t.true(message.includes(words), message);
  });
}

test('a body of 10 MB is refused without being kept, and the connection goes on', async (t) => {
  const { socketPath } = t.context.host;
  const body = `{"Name":"${'a'.repeat(10_000_000)}"}`;
  for (const headers of [JSON_TYPE, { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' }]) {
    const answer = await http(socketPath, 'POST', '/services/create', { body, headers });
    t.is(answer.status, 413);
    t.true(JSON.parse(answer.body).message.includes('at most 4194304 bytes'));
  }
});

test('a secret of 500 KiB fits', async (t) => {
  const data = Buffer.alloc(500 * 1024 - 1, 'x').toString('base64');
  const answer = await httpJson(t.context.host.socketPath, 'POST', '/secrets/create', {
    Name: 'large',
    Data: data,
  });
  t.is(answer.status, 201, answer.body);
});

test('an update needs the version that is stored: one of two clients is told so', async (t) => {
  const { host } = t.context;
  const id = await createService(host, 'two-writers');
  const { json } = await httpJson(host.socketPath, 'GET', `/services/${id}`);
  const { Version, Spec } = json as { Version: { Index: number }; Spec: object };
  const update = (labels: object) =>
    httpJson(host.socketPath, 'POST', `/services/${id}/update?version=${Version.Index}`, {
      ...Spec,
      Labels: labels,
    });
  const answers = await Promise.all([update({ a: '1' }), update({ b: '1' })]);
  t.deepEqual(answers.map(({ status }) => status).sort(), [200, 500]);
  const refused = answers.find(({ status }) => status === 500);
  t.deepEqual(refused?.json, {
    message: 'rpc error: code = Unknown desc = update out of sequence',
  });
  const unversioned = await httpJson(host.socketPath, 'POST', `/services/${id}/update`, Spec);
  t.is(unversioned.status, 400);
  t.true(unversioned.body.includes("invalid service version ''"));
});

test('a taken name and a taken port are refused with their owners', async (t) => {
  const { host } = t.context;
  const ports = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 4711 }] } };
  await createService(host, 'owner', { ...SPEC, ...ports });
  const name = await httpJson(host.socketPath, 'POST', '/services/create', {
    Name: 'owner',
    ...SPEC,
  });
  t.is(name.status, 409);
  t.true(name.body.includes('service owner already exists'));
  const port = await httpJson(host.socketPath, 'POST', '/services/create', {
    Name: 'other',
    ...SPEC,
    ...ports,
  });
  t.is(port.status, 400);
  t.true(port.body.includes("port '4711' is already in use by service 'owner'"));
});

test('a host outside of a swarm, a worker and a locked one refuse cluster calls in Docker’s words', async (t) => {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  const say = async () => {
    const answers = await Promise.all([
      httpJson(host.socketPath, 'GET', '/services'),
      httpJson(host.socketPath, 'POST', '/services/create', { Name: 'x', ...SPEC }),
      httpJson(host.socketPath, 'GET', '/swarm'),
    ]);
    t.deepEqual(
      answers.map(({ status }) => status),
      [503, 503, 503],
    );
    return JSON.parse(answers[0].body).message as string;
  };
  host.standing = { ...host.standing, isManager: false };
  t.true((await say()).startsWith("This node is not a swarm manager. Worker nodes can't be used"));
  const networks = await httpJson(host.socketPath, 'GET', '/networks');
  t.deepEqual(
    (networks.json as { Name: string }[]).map(({ Name }) => Name),
    ['bridge', 'host', 'none'],
  );
  const info = (await httpJson(host.socketPath, 'GET', '/info')).json as { Swarm: object };
  t.like(info.Swarm, { LocalNodeState: 'active', ControlAvailable: false });
  host.standing = { ...host.standing, localState: 'inactive' };
  t.true((await say()).startsWith('This node is not a swarm manager. Use "docker swarm init"'));
  host.standing = { ...host.standing, localState: 'locked', isManager: true };
  t.true((await say()).startsWith('Swarm is encrypted'));
  t.is((await http(host.socketPath, 'GET', '/_ping')).headers.swarm, 'locked');
});

test('info warns of what the administrator of the host has to see to', async (t) => {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  const warnings = async () => {
    const { json } = await httpJson(host.socketPath, 'GET', '/info');
    return (json as { Warnings: readonly string[] | null }).Warnings;
  };
  t.is(await warnings(), null);
  host.standing = { ...host.standing, warnings: ['a filter drops it'] };
  t.deepEqual(await warnings(), ['WARNING: a filter drops it']);
});

test('init and join pass on what the client said', async (t) => {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  const outside = { ...host.standing, localState: 'inactive', isManager: false } as const;
  host.standing = outside;
  const init = await httpJson(host.socketPath, 'POST', '/swarm/init', {
    ListenAddr: '10.0.0.1:2377',
    DefaultAddrPool: ['10.1.0.0/16'],
    SubnetSize: 26,
    Spec: { Orchestration: { TaskHistoryRetentionLimit: 3 } },
    Availability: 'drain',
  });
  t.is(init.status, 200, init.body);
  t.is(init.json, host.self.id);
  host.standing = outside;
  const join = await httpJson(host.socketPath, 'POST', '/swarm/join', {
    RemoteAddrs: ['10.0.0.2:2377'],
    JoinToken: 'SWMTKN-1-abc-def',
  });
  t.is(join.status, 200);
  t.is(join.body, '');
  const [[, initRequest], [, joinRequest]] = host.membershipCalls as [
    [string, object],
    [string, object],
  ];
  t.like(initRequest, {
    listenAddress: '10.0.0.1:2377',
    defaultAddressPools: ['10.1.0.0/16'],
    subnetSize: 26,
    availability: 2,
    spec: { taskHistoryLimit: 3 },
  });
  t.like(joinRequest, { listenAddress: '0.0.0.0:2377', joinToken: 'SWMTKN-1-abc-def' });
});

test('an exec’s stdin ends with the client’s half of the connection, its output does not', async (t) => {
  const { host } = t.context;
  await createService(host, 'shell', ON_THIS_HOST);
  const container = await containerOf(host, 'shell');
  const create = await httpJson(host.socketPath, 'POST', `/containers/${container}/exec`, {
    Cmd: ['sh', '-c', 'cat; echo done >&2; exit 5'],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
  });
  t.is(create.status, 201, create.body);
  const { Id } = create.json as { Id: string };
  const body = '{"Detach":false,"Tty":false}';
  const answer = await rawExchange(
    host.socketPath,
    `POST /v1.48/exec/${Id}/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}early `,
    { afterAnswer: 'late', endAfter: true },
  );
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  t.true(head.startsWith('HTTP/1.1 101 UPGRADED'));
  t.true(head.includes('Content-Type: application/vnd.docker.multiplexed-stream'));
  const stream = rest.join('\r\n\r\n');
  t.true(stream.includes('early ') && stream.includes('late'), stream);
  t.true(stream.includes('\x02\0\0\0\0\0\0\x05done\n'));
  // Known at once when the stream has ended: the CLI asks right then.
  const { json } = await httpJson(host.socketPath, 'GET', `/exec/${Id}/json`);
  t.like(json as object, { Running: false, ExitCode: 5, ContainerID: container });
  const again = await httpJson(host.socketPath, 'POST', `/exec/${Id}/start`, {});
  t.is(again.status, 409);
});

test('a client that does not upgrade gets an exec’s output until the connection closes', async (t) => {
  const { host } = t.context;
  await createService(host, 'plain', ON_THIS_HOST);
  const container = await containerOf(host, 'plain');
  const create = await httpJson(host.socketPath, 'POST', `/containers/${container}/exec`, {
    Cmd: ['echo', 'hi'],
    AttachStdout: true,
  });
  const { Id } = create.json as { Id: string };
  const answer = await http(host.socketPath, 'POST', `/exec/${Id}/start`, {
    body: '{}',
    headers: JSON_TYPE,
  });
  t.is(answer.status, 200);
  t.is(answer.headers['content-type'], 'application/vnd.docker.raw-stream');
  t.is(answer.headers['transfer-encoding'], undefined);
  t.is(answer.body, '\x01\0\0\0\0\0\0\x03hi\n');
});

test('a command that ends before its terminal gets its size keeps its output and exit code', async (t) => {
  const { host } = t.context;
  await createService(host, 'short', ON_THIS_HOST);
  const container = await containerOf(host, 'short');
  const create = await httpJson(host.socketPath, 'POST', `/containers/${container}/exec`, {
    Cmd: ['sh', '-c', 'echo hi; exit 7'],
    AttachStdout: true,
    Tty: true,
    ConsoleSize: [24, 80],
  });
  const { Id } = create.json as { Id: string };
  const answer = await http(host.socketPath, 'POST', `/exec/${Id}/start`, {
    body: '{"Tty":true}',
    headers: JSON_TYPE,
  });
  t.is(answer.body, 'hi\n');
  t.like((await httpJson(host.socketPath, 'GET', `/exec/${Id}/json`)).json as object, {
    ExitCode: 7,
  });
});

test('an upgrade to what is not a stream gets an ordinary answer', async (t) => {
  const answer = await rawExchange(
    t.context.host.socketPath,
    'POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  );
  t.true(answer.startsWith('HTTP/1.1 501 Not Implemented\r\n'));
  t.true(
    answer.endsWith('{"message":"this is not supported yet: BuildKit sessions (docker buildx)"}\n'),
  );
});

test('logs are framed, or raw before API 1.42’s media types', async (t) => {
  const { host } = t.context;
  await createService(host, 'talker', ON_THIS_HOST);
  const container = await containerOf(host, 'talker');
  const path = `/containers/${container}/logs?stdout=1&timestamps=1&tail=1`;
  const now = await http(host.socketPath, 'GET', path);
  t.is(now.headers['content-type'], 'application/vnd.docker.multiplexed-stream');
  t.true(now.body.endsWith('2026-01-01T00:00:00.000000001Z hello\n'));
  const old = await http(host.socketPath, 'GET', `/v1.41${path}`);
  t.is(old.headers['content-type'], 'application/vnd.docker.raw-stream');
  t.is(old.body, now.body);
});

test('followed logs and events send their headers before there is anything to tell', async (t) => {
  const { host } = t.context;
  await createService(host, 'followed', ON_THIS_HOST);
  const container = await containerOf(host, 'followed');
  for (const path of [
    `/containers/${container}/logs?stderr=1&follow=1`,
    '/events?until=99999999999',
  ]) {
    const answer = await http(host.socketPath, 'GET', path, { until: () => true });
    t.is(answer.status, 200, path);
  }
});

test('events tell what the cluster and the host do from the answer’s head on', async (t) => {
  const { host } = t.context;
  let id = '';
  const filters = encodeURIComponent('{"type":{"service":true,"volume":true}}');
  const { body } = await http(host.socketPath, 'GET', `/events?filters=${filters}`, {
    onHead: () => {
      void createService(host, 'told').then(async (created) => {
        id = created;
        await httpJson(host.socketPath, 'POST', '/volumes/create', { Name: 'told' });
      });
    },
    until: (read) => read.includes('"told"') && read.includes('"Type":"volume"'),
  });
  const lines = body
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.like(
    lines.find((line) => line.Actor.ID === id),
    { Type: 'service', Action: 'create', scope: 'swarm' },
  );
  t.like(
    lines.find((line) => line.Type === 'volume'),
    { Action: 'create', scope: 'local' },
  );
});

test('events of the past are told up to now when the end is now', async (t) => {
  const { host } = t.context;
  await httpJson(host.socketPath, 'POST', '/volumes/create', { Name: 'earlier' });
  const until = (Date.now() / 1000).toFixed(3);
  const { body } = await http(host.socketPath, 'GET', `/events?since=1&until=${until}`);
  t.true(body.includes('"ID":"earlier"'));
});

test("the cluster's past is told in order with the host's, and on a worker not at all", async (t) => {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  await createService(host, 'before');
  await delay(20);
  const since = (Date.now() / 1000).toFixed(3);
  await createService(host, 'first');
  await delay(5);
  await httpJson(host.socketPath, 'POST', '/volumes/create', { Name: 'second' });
  await delay(5);
  await createService(host, 'third');
  await delay(5);
  const until = (Date.now() / 1000).toFixed(3);
  const filters = encodeURIComponent(
    '{"event":{"create":true},"type":{"service":true,"volume":true}}',
  );
  const path = `/events?since=${since}&until=${until}&filters=${filters}`;
  const told = async () => {
    const { body } = await http(host.socketPath, 'GET', path);
    const lines = body.split('\n').filter(Boolean);
    return lines
      .map((line) => JSON.parse(line).Actor)
      .map(({ ID, Attributes }) => Attributes.name ?? ID);
  };
  t.deepEqual(await told(), ['first', 'second', 'third']);
  host.standing = { ...host.standing, isManager: false };
  t.deepEqual(await told(), ['second']);
});

test('wait sends its headers before the container ends, then the exit code', async (t) => {
  const { host } = t.context;
  await createService(host, 'waited', ON_THIS_HOST);
  const container = await containerOf(host, 'waited');
  const waiting = http(host.socketPath, 'POST', `/containers/${container}/wait`);
  await delay(50);
  const kill = await http(host.socketPath, 'POST', `/containers/${container}/kill?signal=SIGKILL`);
  t.is(kill.status, 204);
  t.deepEqual(JSON.parse((await waiting).body), { StatusCode: 137 });
  const again = await http(host.socketPath, 'POST', `/containers/${container}/kill`);
  t.is(again.status, 409);
  const stop = await http(host.socketPath, 'POST', `/containers/${container}/stop`);
  t.is(stop.status, 304);
  t.is(stop.body, '');
});

test('stop kills what does not heed its signal', async (t) => {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  await createService(host, 'deaf', ON_THIS_HOST);
  const container = await containerOf(host, 'deaf');
  host.runtime.deadly = [9];
  const stop = await http(host.socketPath, 'POST', `/containers/${container}/stop?t=0`);
  t.is(stop.status, 204);
  t.deepEqual(
    host.runtime.kills.map(([, signal]) => signal),
    [15, 9],
  );
});

test('an import of any size goes through without being kept', async (t) => {
  const { host } = t.context;
  const answer = await http(
    host.socketPath,
    'POST',
    '/images/create?fromSrc=-&repo=docker.io%2Flibrary%2Fbig&tag=1',
    { body: new Uint8Array(20_000_000), headers: { 'Content-Type': 'application/x-tar' } },
  );
  t.is(answer.status, 200, answer.body);
  t.is(host.images.receivedBytes, 20_000_000);
  t.true((await host.images.get('big:1')).tags.includes('big:1'));
});

test('a pull that fails before it begins is an error, not a stream', async (t) => {
  const { host } = t.context;
  const missing = await http(host.socketPath, 'POST', '/images/create?fromImage=missing&tag=1');
  t.is(missing.status, 404);
  t.true(missing.body.includes('pull access denied for missing:1'));
  const found = await http(host.socketPath, 'POST', '/images/create?fromImage=there&tag=1');
  const lines = found.body
    .trim()
    .split('\r\n')
    .map((line) => JSON.parse(line));
  t.like(lines[1], { id: 'abcdef012345', progressDetail: { current: 5, total: 10 } });
});

test('registry credentials of a service reach its spec, and no client', async (t) => {
  const { host } = t.context;
  const answer = await http(host.socketPath, 'POST', '/services/create', {
    body: JSON.stringify({ Name: 'private', ...SPEC }),
    headers: { ...JSON_TYPE, 'X-Registry-Auth': 'eyJ1c2VybmFtZSI6InUifQ==' },
  });
  const { ID } = JSON.parse(answer.body);
  const stored = host.store.get('service', ID)?.spec?.task?.container?.registryAuth;
  t.is(stored, 'eyJ1c2VybmFtZSI6InUifQ==');
  const shown = await http(host.socketPath, 'GET', `/services/${ID}`);
  t.false(shown.body.includes('eyJ1c2Vy'));
});

test('a second daemon on the same socket is refused', async (t) => {
  const { EngineServer } = await import('../../../agent/engine/io/server.ts');
  const { silentLog } = await import('../../../shared/log.ts');
  const second = new EngineServer(async () => ({ reply: { kind: 'empty', status: 200 } }), {
    socketPath: t.context.host.socketPath,
    log: silentLog,
  });
  await t.throwsAsync(second.listen(), { message: /another daemon answers/ });
});
