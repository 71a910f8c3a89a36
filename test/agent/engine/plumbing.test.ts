import test from 'ava';
import { eventLine, LocalEventBus, stamp } from '../../../agent/engine/events.ts';
import { ExecTable } from '../../../agent/engine/exec-table.ts';
import { labelsMatch, parseFilters, valuesIn } from '../../../agent/engine/filters.ts';
import { errorAnswer, HttpError, isTrue, json, rpcError } from '../../../agent/engine/http.ts';
import { primed } from '../../../agent/engine/primed.ts';
import { registryAuth } from '../../../agent/engine/registry-auth.ts';
import { Rendered } from '../../../agent/engine/rendered.ts';
import { Router } from '../../../agent/engine/router.ts';
import { registryUrl } from '../../../agent/engine/routes/auth.ts';
import { matches } from '../../../agent/engine/routes/events.ts';
import { isLike } from '../../../agent/engine/routes/images.ts';
import { messageDetails } from '../../../agent/engine/routes/logs.ts';
import { swarmEvent } from '../../../agent/engine/swarm-events.ts';
import { parseTime } from '../../../agent/engine/times.ts';
import { splitVersion } from '../../../agent/engine/version.ts';
import { type ErrorCode, ShoalError } from '../../../shared/errors.ts';
import type { ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { LogMessage } from '../../../shared/gen/shoal/v1/logs.ts';
import { Autoscaling } from '../../../shared/gen/shoal/v1/objects.ts';
import { parseDuration } from '../../../shared/model/duration.ts';
import { EXEC } from '../../support/container-config.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { nodeFixture, serviceFixture } from '../../support/objects.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import type { MessageInitShape } from '../../support/types.ts';

// ---- versions, routes, queries ------------------------------------------------------------------

test('splitVersion() takes versions 1.24 to 1.48 and paths without one', (t) => {
  t.deepEqual(splitVersion('/v1.41/info'), { api: 41, path: '/info' });
  t.deepEqual(splitVersion('/_ping'), { api: 48, path: '/_ping' });
  t.deepEqual(splitVersion('/volumes'), { api: 48, path: '/volumes' });
  for (const [path, words] of [
    ['/v1.49/info', 'client version 1.49 is too new. Maximum supported API version is 1.48'],
    ['/v2.0/info', 'client version 2.0 is too new'],
    ['/v1.23/info', 'client version 1.23 is too old. Minimum supported API version is 1.24'],
  ] as const) {
    const error = t.throws(() => splitVersion(path), { instanceOf: HttpError });
    t.is(error.status, 400);
    t.true(error.message.includes(words));
  }
});

test('Router finds the first pattern that fits, with names that hold slashes', (t) => {
  const seen: string[] = [];
  const route = (pattern: string): [string, () => ReturnType<typeof json>] => [
    pattern,
    () => {
      seen.push(pattern);
      return json(null);
    },
  ];
  const router = new Router([
    route('GET /images/json'),
    route('GET /images/{name*}/json'),
    route('DELETE /images/{name*}'),
    route('GET /services/{id}'),
  ]);
  t.deepEqual(router.find('GET', '/images/docker.io/library/x:1/json')?.params, {
    name: 'docker.io/library/x:1',
  });
  t.deepEqual(router.find('GET', '/images/a%2Fb/json')?.params, { name: 'a/b' });
  t.deepEqual(router.find('DELETE', '/images/x:1')?.params, { name: 'x:1' });
  t.deepEqual(router.find('GET', '/images/json')?.params, {});
  t.is(router.find('GET', '/services/a/b'), undefined);
  t.is(router.find('POST', '/services/a'), undefined);
  t.is(router.find('GET', '/'), undefined);
  t.deepEqual(router.find('GET', '/services/100%')?.params, { id: '100%' });
});

test('parseFilters() reads both encodings alike', (t) => {
  const read = (filters: string) =>
    parseFilters(new URLSearchParams({ filters }), ['label', 'name']);
  t.deepEqual(
    valuesIn(read('{"label":["a=b","c"]}'), 'label'),
    valuesIn(read('{"label":{"a=b":true,"c":true}}'), 'label'),
  );
  t.is(read('').size, 0);
  t.is(read('{}').size, 0);
  t.is(parseFilters(new URLSearchParams(), []).size, 0);
  t.throws(() => read('{"x":["a"]}'), { message: "invalid filter 'x'" });
  t.throws(() => read('{"name":[5]}'), { message: /must be strings/ });
  t.throws(() => read('[]'), { message: /not an object/ });
  t.throws(() => read('{'), { message: /not JSON/ });
});

test('labelsMatch() wants all labels, by key or by key and value', (t) => {
  const filters = new Map([['label', ['a', 'b=2']]]);
  t.true(labelsMatch(filters, { a: '', b: '2', c: '' }));
  t.false(labelsMatch(filters, { a: '', b: '3' }));
  t.false(labelsMatch(filters, { b: '2' }));
  t.false(labelsMatch(new Map([['label', ['toString']]]), {}));
});

test('isTrue() reads booleans as Docker does', (t) => {
  t.deepEqual(['1', 'true', 'True', 'yes', 'x'].map(isTrue), [true, true, true, true, true]);
  t.deepEqual([null, '', '0', 'no', 'false', 'none'].map(isTrue), [
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});

test('parseTime() reads Unix seconds, RFC 3339 and durations before now', (t) => {
  t.is(parseTime('since', '1700000000.5', 0), 1_700_000_000_500);
  t.is(parseTime('since', '2024-01-01T00:00:00Z', 0), Date.UTC(2024, 0, 1));
  t.is(parseTime('since', '1m30s', 100_000), 10_000);
  t.is(parseTime('since', null, 0), undefined);
  t.throws(() => parseTime('since', 'soon', 0), { message: /invalid value for "since"/ });
  t.is(parseDuration('10 m'), undefined);
});

// ---- errors ---------------------------------------------------------------------------------------

const STATUS: [code: ErrorCode, status: number, rpc: string][] = [
  ['invalid-argument', 400, 'InvalidArgument'],
  ['failed-precondition', 400, 'FailedPrecondition'],
  ['not-found', 404, 'NotFound'],
  ['already-exists', 409, 'AlreadyExists'],
  ['permission-denied', 403, 'PermissionDenied'],
  ['unauthenticated', 401, 'Unauthenticated'],
  ['unimplemented', 501, 'Unimplemented'],
  ['unavailable', 503, 'Unavailable'],
  ['deadline-exceeded', 500, 'DeadlineExceeded'],
  ['unknown-outcome', 500, 'Unknown'],
];
for (const [code, status, rpc] of STATUS) {
  test(`the cluster's "${code}" is ${status} with gRPC's word for it`, (t) => {
    const answer = errorAnswer(rpcError(new ShoalError(code, 'why')));
    t.deepEqual(answer, { status, message: `rpc error: code = ${rpc} desc = why` });
  });
}

test('a version conflict has the words that clients retry on', (t) => {
  t.deepEqual(errorAnswer(rpcError(new ShoalError('out-of-sequence', 'version 5 is not 6'))), {
    status: 500,
    message: 'rpc error: code = Unknown desc = update out of sequence',
  });
});

test('what the state of this host forbids is a conflict, in plain words', (t) => {
  t.deepEqual(errorAnswer(new ShoalError('failed-precondition', 'in use')), {
    status: 409,
    message: 'in use',
  });
  t.deepEqual(errorAnswer(new TypeError('boom')), { status: 500, message: 'boom' });
});

// ---- streams --------------------------------------------------------------------------------------

test('primed() throws what comes before the first item, and gives all items otherwise', async (t) => {
  const breaks = (async function* () {
    yield* [];
    throw new Error('at once');
  })();
  await t.throwsAsync(primed(breaks), { message: 'at once' });
  const works = (async function* () {
    yield* [1, 2, 3];
  })();
  t.deepEqual(await Array.fromAsync(await primed(works)), [1, 2, 3]);
});

// ---- events ---------------------------------------------------------------------------------------

test('LocalEventBus keeps the last 1024 events, each later than the one before', (t) => {
  const bus = new LocalEventBus(new ManualClock());
  const heard: string[] = [];
  const stop = bus.subscribe((event) => heard.push(event.actorId));
  for (let i = 0; i < 1100; i++) {
    bus.publish({ type: 'container', action: 'start', actorId: String(i) });
    if (i === 1) stop();
  }
  t.deepEqual(heard, ['0', '1']);
  const past = bus.past();
  t.is(past.length, 1024);
  t.is(past[0]?.actorId, '76');
  t.true(past.every((event, i) => i === 0 || event.atNs > (past[i - 1]?.atNs ?? 0n)));
});

test('eventLine() writes nanoseconds that no JavaScript number holds', (t) => {
  const event = stamp(
    { type: 'container', action: 'die', actorId: 'c1', attributes: { image: 'web:1' } },
    'local',
    1_700_000_000_123,
    1_700_000_000_123_456_788n,
  );
  const line = eventLine(event);
  t.true(line.endsWith('"timeNano":1700000000123456789}\n'));
  t.like(JSON.parse(line), {
    status: 'die',
    id: 'c1',
    from: 'web:1',
    Type: 'container',
    time: 1_700_000_000,
  });
  t.false(eventLine({ ...event, type: 'service' }).includes('"status"'));
});

test('matches() filters by type, by action before its colon, by actor and by label', (t) => {
  const event = stamp(
    {
      type: 'container',
      action: 'exec_create: ls',
      actorId: 'abcdef',
      attributes: { name: 'web.1', image: 'web:1', tier: 'front' },
    },
    'local',
    5,
  );
  const with_ = (name: string, value: string) => matches(event, new Map([[name, [value]]]));
  t.true(with_('type', 'container'));
  t.true(with_('event', 'exec_create'));
  t.true(with_('container', 'web.1'));
  t.true(with_('container', 'abcd'));
  t.true(with_('label', 'tier=front'));
  t.true(with_('image', 'web'));
  t.false(with_('type', 'image'));
  t.false(with_('event', 'exec'));
  t.false(with_('service', 'web.1'));
  t.false(with_('scope', 'swarm'));
});

test('swarmEvent() tells what changed of a service and of a node', (t) => {
  const before = serviceFixture({
    spec: { name: 'web', mode: { $case: 'replicated', value: { replicas: 1 } } },
  });
  const now = serviceFixture({
    id: before.id,
    spec: { name: 'web', mode: { $case: 'replicated', value: { replicas: 3 } } },
  });
  t.deepEqual(
    swarmEvent({
      action: 'update',
      object: { kind: { $case: 'service', value: now } },
      previous: { kind: { $case: 'service', value: before } },
    })?.attributes,
    { name: 'web', 'replicas.new': '3', 'replicas.old': '1' },
  );
  const node = nodeFixture();
  const down = { ...node, status: { state: 1, message: '', address: '' } } as const;
  t.like(
    swarmEvent({
      action: 'update',
      object: { kind: { $case: 'node', value: down } },
      previous: { kind: { $case: 'node', value: node } },
    })?.attributes,
    { 'state.new': 'down', 'state.old': 'ready' },
  );
});

test('swarmEvent() tells why a service was scaled, and not why it was not', (t) => {
  const record = {
    from: 1,
    to: 3,
    reason: 'above-target',
    message: 'cpu at 210 % of 70 %: 1 -> 3',
  };
  const told = (records: MessageInitShape<typeof ScaleRecord>[], action = 'update') =>
    swarmEvent({
      action,
      object: {
        kind: {
          $case: 'autoscaling',
          value: Autoscaling.fromPartial({ id: 's1', serviceName: 'web', records }),
        },
      },
      previous: undefined,
    });
  t.deepEqual(told([record]), {
    type: 'service',
    action: 'scale',
    actorId: 's1',
    attributes: {
      name: 'web',
      'replicas.old': '1',
      'replicas.new': '3',
      reason: 'above-target',
      message: 'cpu at 210 % of 70 %: 1 -> 3',
    },
  });
  t.is(told([record, { from: 3, to: 3, reason: 'at-max' }]), undefined);
  t.is(told([{ ...record, held: true }]), undefined);
  t.is(told([record], 'remove'), undefined);
  t.is(told([]), undefined);
});

// ---- small ones -----------------------------------------------------------------------------------

test('registryAuth() reads base64url of JSON and takes nonsense for none', (t) => {
  const header = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  t.deepEqual(registryAuth(header({ username: 'u', password: 'p' })), {
    username: 'u',
    password: 'p',
    identityToken: '',
  });
  const pair = Buffer.from('u:p:q').toString('base64');
  t.like(registryAuth(header({ auth: pair })), { username: 'u', password: 'p:q' });
  for (const none of [undefined, '', 'e30=', '%%%', header(5), header('x')]) {
    t.is(registryAuth(none), undefined);
  }
});

test('registryUrl() says where a registry checks a login', (t) => {
  t.is(registryUrl('https://index.docker.io/v1/'), 'https://registry-1.docker.io/v2/');
  t.is(registryUrl('reg.example:5000'), 'https://reg.example:5000/v2/');
  t.is(registryUrl('localhost:5000'), 'http://localhost:5000/v2/');
  t.is(registryUrl('[::1]:5000'), 'http://[::1]:5000/v2/');
});

test('isLike() matches names with and without their tag', (t) => {
  t.true(isLike('web', 'web:1'));
  t.true(isLike('web:*', 'web:1'));
  t.true(isLike('w?b', 'web:1'));
  t.true(isLike('a/*', 'a/b:1'));
  t.false(isLike('*', 'a/b:1'));
  t.false(isLike('we', 'web:1'));
});

test('messageDetails() says where a line comes from in the order and form the CLI cuts off', (t) => {
  const message = LogMessage.fromPartial({ nodeId: 'n', serviceId: 's', taskId: 't=1' });
  t.is(
    messageDetails(message),
    'com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=t%3D1',
  );
});

test('ExecTable forgets ended ones first, and refuses more when all run', (t) => {
  const table = new ExecTable(new SeededRandom(1));
  const config = { ...EXEC, cmd: ['x'] };
  const first = table.add('c', config, '');
  first.state = 'running';
  const second = table.add('c', config, '');
  for (let i = 0; i < 1023; i++) table.add('c', config, '').state = 'running';
  t.is(table.get(first.id), first);
  t.throws(() => table.get(second.id), { message: /No such exec instance/ });
  t.throws(() => table.add('c', config, ''), { message: /run already/ });
});

test('Rendered renders each version once, and forgets the oldest beyond its room', (t) => {
  let renderings = 0;
  const rendered = new Rendered<ReturnType<typeof serviceFixture>>(({ id, allocationError }) => {
    renderings += 1;
    return { id, allocationError };
  });
  const at = (version: number, allocationError = '') =>
    serviceFixture({ id: 'a', meta: { version }, allocationError });
  t.is(rendered.textOf(at(1)).toString(), '{"id":"a","allocationError":""}');
  rendered.textOf(at(1));
  t.is(renderings, 1);
  t.is(rendered.textOf(at(2, 'no room')).toString(), '{"id":"a","allocationError":"no room"}');
  t.is(renderings, 2);
  for (let i = 0; i < 5; i++) {
    rendered.textOf(serviceFixture({ id: `b${i}`, allocationError: 'x'.repeat(1 << 20) }));
  }
  rendered.textOf(at(2, 'no room'));
  t.is(renderings, 8); // it was pushed out
});
