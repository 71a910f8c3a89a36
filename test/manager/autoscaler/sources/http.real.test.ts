// Against a small HTTP server of the test. Debian has a Prometheus, but only a page that speaks the documented JSON of
// its instant queries is used here: what it answers is the test's to say.
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import test from 'ava';
import { Connections } from '../../../../manager/autoscaler/sources/connections.ts';
import {
  type HttpConnection,
  httpSource,
  prometheusSource,
} from '../../../../manager/autoscaler/sources/io/http.ts';
import { HttpMetric, PrometheusMetric } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { freePort } from '../../../support/ports.ts';
import { soon, testCertificate } from './support/servers.ts';
import { FakeStore, failure, read } from './support/sources.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A page whose answer the test sets; counts its connections. */
class Page {
  readonly store = new FakeStore();
  readonly connections = new Connections<HttpConnection>();
  readonly sockets = new Set<Socket>();
  handler: Handler;
  accepted = 0;
  #server: Server;
  port = 0;

  constructor(handler: Handler, tls?: { cert: string; key: string }) {
    this.handler = handler;
    const listener: Handler = (request, response) => this.handler(request, response);
    this.#server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
    this.#server.on('connection', (socket: Socket) => {
      this.accepted += 1;
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
  }

  async listen(port?: number): Promise<this> {
    this.port = port ?? (await freePort());
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.listen(this.port, '127.0.0.1', () => resolve());
    await promise;
    return this;
  }

  /** As a process that is killed: nothing is answered any more. */
  kill(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const socket of this.sockets) socket.resetAndDestroy();
    return promise;
  }

  http(fields: Parameters<typeof HttpMetric.fromPartial>[0] = {}) {
    const metric = { url: `http://127.0.0.1:${this.port}/load?a=1`, path: 'depth', ...fields };
    return httpSource(HttpMetric.fromPartial(metric), this.store.access(), this.connections);
  }

  prometheus(query: string) {
    const metric = PrometheusMetric.fromPartial({
      url: `http://127.0.0.1:${this.port}/prom`,
      query,
    });
    return prometheusSource(metric, this.store.access(), this.connections);
  }
}

const answer =
  (body: string, status = 200): Handler =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  };

test('a number is read out of a page of JSON', async (t) => {
  const page = await new Page(answer('{"depth":7,"items":[{"count":3}]}')).listen();
  t.teardown(() => page.kill());
  t.is(await read(page.http()), 7);
  t.is(await read(page.http({ path: 'items[0].count' })), 3);
  t.regex(await failure(page.http({ path: 'items[1].count' })), /items is an array of 1/);
  t.regex(await failure(page.http({ path: 'items[' })), /place 7/);
  const url = `https://127.0.0.1:${page.port}/load`;
  t.regex(await failure(page.http({ url })), /speaks no TLS on this port/);
});

test('path, query, host and credentials of a request are those of the metric', async (t) => {
  let seen: IncomingMessage | undefined;
  const page = await new Page((request, response) => {
    seen = request;
    response.end('{"depth":1}');
  }).listen();
  t.teardown(() => page.kill());
  page.store.publish('api', 8080, page.port);
  page.store.secrets.set('pw', 'hunter2\n').set('token', 'abc');
  await read(page.http({ url: 'http://api:8080/load?a=1' }));
  t.is(seen?.method, 'GET');
  t.is(seen?.url, '/load?a=1');
  t.is(seen?.headers.host, 'api:8080', 'though 127.0.0.1 was dialled');
  t.is(seen?.headers.authorization, undefined);
  await read(page.http({ auth: { username: 'me', passwordSecret: 'pw' } }));
  t.is(seen?.headers.authorization, `Basic ${btoa('me:hunter2')}`);
  await read(page.http({ auth: { tokenSecret: 'token' } }));
  t.is(seen?.headers.authorization, 'Bearer abc');
  page.store.secrets.set('token', 'def');
  await read(page.http({ auth: { tokenSecret: 'token' } }));
  t.is(seen?.headers.authorization, 'Bearer def');
});

for (const [title, handler, message] of [
  ['another status', answer('{"depth":1}', 500), /status 500/],
  ['a refusal', answer('no', 401), /status 401: name a secret/],
  [
    'a redirect',
    (_, response) => response.writeHead(302, { location: '/x' }).end(),
    /status 302: give the URL that/,
  ],
  ['no JSON', answer('<html>'), /no JSON/],
  ['an empty page', answer(''), /no JSON/],
  ['a page without end', (_, response) => endless(response), /larger than 1 MiB/],
  ['a hang-up', (request) => request.socket.destroy(), /socket hang up|reset/],
] as const satisfies readonly (readonly [string, Handler, RegExp])[]) {
  test(`${title} is an error, and not 0`, async (t) => {
    const page = await new Page(handler).listen();
    t.teardown(() => page.kill());
    t.regex(await failure(page.http()), message);
  });
}

function endless(response: ServerResponse): void {
  const more = () => {
    while (!response.destroyed && response.write('"'.repeat(65_536)));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}

test('a page that does not answer is given up with the reading, and its socket is closed', async (t) => {
  const page = await new Page(() => undefined).listen();
  t.teardown(() => page.kill());
  const limit = new AbortController();
  const asked = page.http().read(limit.signal);
  await soon(() => page.sockets.size === 1);
  limit.abort();
  await t.throwsAsync(asked);
  await soon(() => page.sockets.size === 0);
});

test('a server that is killed fails its readings, and is read again when it is back', async (t) => {
  const first = await new Page(answer('{"depth":5}')).listen();
  const source = first.http();
  t.is(await read(source), 5);
  first.handler = () => undefined;
  const asked = failure(source);
  await soon(() => first.sockets.size === 1);
  await first.kill();
  t.notRegex(await asked, /it answered/);
  t.regex(await failure(source), /ECONNREFUSED/);
  const second = await new Page(answer('{"depth":6}')).listen(first.port);
  t.teardown(() => second.kill());
  t.is(await read(source), 6);
});

test('readings share sockets that are kept, also one that the server closed just then', async (t) => {
  const page = await new Page(answer('{"depth":5}')).listen();
  t.teardown(() => page.kill());
  const [a, b] = [page.http(), page.http({ path: '["depth"]' })];
  for (let round = 0; round < 5; round++) t.deepEqual([await read(a), await read(b)], [5, 5]);
  t.is(page.accepted, 1);
  for (const socket of page.sockets) socket.resetAndDestroy();
  t.is(await read(a), 5);
  t.is(page.accepted, 2);
  a.close();
  t.is(await read(b), 5);
  b.close();
  await soon(() => page.sockets.size === 0);
  t.is(page.connections.size, 0);
});

test('a query is asked of Prometheus below its prefix', async (t) => {
  let asked: string | undefined;
  const page = await new Page((request, response) => {
    asked = request.url;
    const result = [{ metric: {}, value: [1_700_000_000, '12.5'] }];
    response.end(JSON.stringify({ status: 'success', data: { resultType: 'vector', result } }));
  }).listen();
  t.teardown(() => page.kill());
  t.is(await read(page.prometheus('sum(rate(x[1m]))')), 12.5);
  t.is(asked, '/prom/api/v1/query?query=sum%28rate%28x%5B1m%5D%29%29&timeout=2000ms');
});

test('what Prometheus says about a wrong query is told', async (t) => {
  const said = { status: 'error', errorType: 'bad_data', error: 'parse error: no closing' };
  const page = await new Page(answer(JSON.stringify(said), 400)).listen();
  t.teardown(() => page.kill());
  t.regex(await failure(page.prometheus('sum(')), /the query failed: parse error: no closing/);
  page.handler = answer('Bad Gateway', 502);
  t.regex(await failure(page.prometheus('up')), /status 502/);
  page.handler = answer('Service Unavailable', 503);
  t.regex(await failure(page.prometheus('up')), /no JSON \(status 503\)/);
});

test('with https the name in the certificate counts, whichever address is dialled', async (t) => {
  const files = testCertificate('api');
  const tls = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
  const page = await new Page(answer('{"depth":5}'), tls).listen();
  t.teardown(async () => {
    await page.kill();
    rmSync(files.dir, { recursive: true });
  });
  page.store.secrets.set('ca', readFileSync(files.ca, 'utf8'));
  for (const name of ['api', 'other']) page.store.publish(name, 443, page.port);
  const auth = { caSecret: 'ca' };
  t.is(await read(page.http({ url: 'https://api/load', auth })), 5);
  t.regex(await failure(page.http({ url: 'https://api/load' })), /certificate: name a secret/);
  t.regex(await failure(page.http({ url: 'https://other/load', auth })), /altnames/);
  t.regex(await failure(page.http({ url: 'http://me:hunter2@api/load' })), /put it into a secret/);
});
