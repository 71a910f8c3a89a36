// Every endpoint of API 1.48: each is served, or answers 501 with a name for what is missing; none
// is an unknown page, and none leaves a client waiting.

import anyTest, { type TestFn } from 'ava';
import { EngineHost } from '../../support/engine-host.ts';
import { http, rawExchange } from '../../support/engine-http.ts';

const test = anyTest as TestFn<{ host: EngineHost }>;

test.before(async (t) => {
  t.context.host = await EngineHost.start();
});
test.after.always((t) => t.context.host.close());

const CONTAINER = '/containers/nope';
const SERVED = `
GET /containers/json
GET ${CONTAINER}/json
GET ${CONTAINER}/top
GET ${CONTAINER}/logs
GET ${CONTAINER}/stats
POST ${CONTAINER}/stop
POST ${CONTAINER}/kill
POST ${CONTAINER}/wait
POST ${CONTAINER}/exec
DELETE ${CONTAINER}
POST /containers/prune
POST /exec/nope/start
POST /exec/nope/resize
GET /exec/nope/json
GET /images/json
GET /images/lib/nope/json
GET /images/lib/nope/history
GET /images/lib/nope/get
GET /images/get?names=nope
POST /images/lib/nope/tag?repo=x
POST /images/create
POST /images/load
POST /images/prune
DELETE /images/lib/nope
POST /build/prune
GET /distribution/lib/nope/json
GET /volumes
GET /volumes/nope
POST /volumes/create
POST /volumes/prune
DELETE /volumes/nope
GET /networks
GET /networks/nope
POST /networks/create
POST /networks/prune
DELETE /networks/nope
GET /_ping
HEAD /_ping
GET /info
GET /version
GET /events?until=1
GET /system/df
POST /auth
GET /plugins
GET /plugins/org/nope/json
GET /swarm
POST /swarm/init
POST /swarm/join
POST /swarm/update
GET /swarm/unlockkey
POST /swarm/unlock
GET /services
POST /services/create
GET /services/nope
POST /services/nope/update
DELETE /services/nope
GET /services/nope/logs
GET /nodes
GET /nodes/nope
POST /nodes/nope/update
DELETE /nodes/nope
GET /tasks
GET /tasks/nope
GET /tasks/nope/logs
GET /secrets
POST /secrets/create
GET /secrets/nope
POST /secrets/nope/update
DELETE /secrets/nope
GET /configs
POST /configs/create
GET /configs/nope
POST /configs/nope/update
DELETE /configs/nope
POST /swarm/leave`;
const MISSING = `
POST /containers/create
POST ${CONTAINER}/start
POST ${CONTAINER}/restart
POST ${CONTAINER}/pause
POST ${CONTAINER}/unpause
POST ${CONTAINER}/rename
POST ${CONTAINER}/update
POST ${CONTAINER}/resize
POST ${CONTAINER}/attach
GET ${CONTAINER}/attach/ws
GET ${CONTAINER}/changes
GET ${CONTAINER}/export
HEAD ${CONTAINER}/archive
GET ${CONTAINER}/archive
PUT ${CONTAINER}/archive
GET ${CONTAINER}/checkpoints
POST ${CONTAINER}/checkpoints
DELETE ${CONTAINER}/checkpoints/one
POST /commit
POST /build
POST /build/cancel
POST /images/lib/nope/push
GET /images/search
PUT /volumes/nope
POST /networks/nope/connect
POST /networks/nope/disconnect
POST /session
POST /grpc
GET /plugins/privileges
POST /plugins/pull
POST /plugins/create
DELETE /plugins/org/nope
POST /plugins/org/nope/enable
POST /plugins/org/nope/disable
POST /plugins/org/nope/upgrade
POST /plugins/org/nope/push
POST /plugins/org/nope/set`;

const rows = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => line.split(' ') as [method: string, path: string]);

for (const prefix of ['', '/v1.24', '/v1.48']) {
  test(`every endpoint that is served is known under "${prefix}"`, async (t) => {
    for (const [method, path] of rows(SERVED)) {
      const { status, body } = await http(t.context.host.socketPath, method, `${prefix}${path}`);
      t.not(status, 501, `${method} ${path}: ${body}`);
      t.false(body.includes('page not found'), `${method} ${path}`);
    }
  });
}

test('every endpoint that is not served says what is missing', async (t) => {
  for (const [method, path] of rows(MISSING)) {
    const { status, body } = await http(t.context.host.socketPath, method, `/v1.48${path}`);
    t.is(status, 501, `${method} ${path}: ${body}`);
    if (method !== 'HEAD') t.regex(body, /this is not supported yet: \w+/, `${method} ${path}`);
  }
});

test('it says so also to who asks for an upgrade of the connection', async (t) => {
  for (const [request, protocol] of [
    [`POST ${CONTAINER}/attach?stream=1`, 'tcp'],
    [`GET ${CONTAINER}/attach/ws`, 'websocket'],
    ['POST /session', 'h2c'],
    ['POST /grpc', 'h2c'],
  ]) {
    const head = `${request} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
    const answer = await rawExchange(t.context.host.socketPath, head);
    t.regex(answer, /^HTTP\/1\.1 501 /, request);
    t.regex(answer, /this is not supported yet/, request);
  }
});

test('a page that Docker does not have either is not found', async (t) => {
  for (const [method, path] of rows('GET /no/such\nPOST /info\nDELETE /containers')) {
    const { status, body } = await http(t.context.host.socketPath, method, path);
    t.is(status, 404);
    t.regex(body, /page not found/);
  }
});
