import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { aborted } from '../../../../shared/abort.ts';
import { isShoalError, NotLeaderError, ShoalError } from '../../../../shared/errors.ts';
import { silentLog } from '../../../../shared/log.ts';
import { LinkClient } from '../../../../shared/rpc/io/link-client.ts';
import { LinkServer } from '../../../../shared/rpc/io/link-server.ts';
import { listenAt } from '../../../../shared/rpc/io/link-socket.ts';
import {
  encodeCall,
  frameParts,
  LINK,
  type LinkFrame,
  LinkReader,
} from '../../../../shared/rpc/link-frames.ts';
import { textMethod } from '../../../support/text-method.ts';

const echo = textMethod('/test.Echo/Echo');
const fail = textMethod('/test.Echo/Fail');
const hang = textMethod('/test.Echo/Hang');
const count = textMethod('/test.Echo/Count');

type Context = {
  path: string;
  links: LinkServer;
  listener: Server;
  client: LinkClient;
  sockets: Socket[];
  /** Signals of calls of `hang`; each new one resolves `hanging`. */
  hung: AbortSignal[];
  hanging: PromiseWithResolvers<void>;
};
const test = anyTest as TestFn<Context>;

test.beforeEach(async (t) => {
  const path = join(await mkdtemp(join(tmpdir(), 'shoal-link-')), 'link.sock');
  const links = new LinkServer(silentLog);
  const hung: AbortSignal[] = [];
  const hanging = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  links.serve(echo.path, {
    kind: 'unary',
    serve: async (request, { caller, metadata, deadlineAtMs }) =>
      Buffer.from(`${request} ${caller?.nodeId} ${metadata('word')} ${deadlineAtMs !== undefined}`),
  });
  links.serve(fail.path, {
    kind: 'unary',
    serve: async (request) => {
      if (request.toString() === 'leader') throw new NotLeaderError('node7');
      if (request.toString() === 'bug') throw new TypeError('a bug');
      throw new ShoalError('out-of-sequence', request.toString());
    },
  });
  links.serve(hang.path, {
    kind: 'unary',
    serve: async (_request, { signal }) => {
      hung.push(signal);
      hanging.resolve();
      await aborted(signal);
      return Buffer.alloc(0);
    },
  });
  links.serve(count.path, {
    kind: 'stream',
    async *serve(request) {
      for (let i = 0; i < Number(request); i++) yield Buffer.alloc(100_000, String(i % 10));
      if (request.toString() === '3') throw new ShoalError('not-found', 'no more');
    },
  });
  const caller = { nodeId: 'me', role: 'manager', clusterId: 'c', local: true } as const;
  const listener = await listenAt(path, (socket) => {
    sockets.push(socket);
    links.accept(socket, () => caller);
  });
  const client = new LinkClient(() => connect(path));
  t.context = { path, links, listener, client, sockets, hung, hanging };
});

test.afterEach.always(async (t) => {
  const { client, links, listener, path } = t.context;
  client.close();
  await links.close(0);
  listener.close();
  await rm(join(path, '..'), { recursive: true, force: true });
});

test('many calls share one connection and each gets its own answer', async (t) => {
  const { client, sockets } = t.context;
  const words = Array.from({ length: 200 }, (_, i) => `word${i}`);
  const answers = await Promise.all(words.map((word) => client.unary(echo, word)));
  t.deepEqual(
    answers,
    words.map((word) => `${word} me undefined false`),
  );
  const options = { metadata: { word: 'ü' }, deadlineMs: 5_000 };
  t.is(await client.unary(echo, 'a', options), 'a me ü true');
  t.is(sockets.length, 1);
});

test('the socket belongs to root alone, and one that was left over is replaced', async (t) => {
  const { path } = t.context;
  t.is((await stat(path)).mode & 0o777, 0o600);
  const left = `${path}.left`;
  const old = createServer();
  await new Promise<void>((resolve) => old.listen(left, resolve));
  await chmod(left, 0o666);
  const listener = await listenAt(left, (socket) => socket.destroy());
  t.is((await stat(left)).mode & 0o777, 0o600);
  listener.close();
  old.close();
});

test('errors keep their code, their words and the leader they name', async (t) => {
  const { client } = t.context;
  const stale = await t.throwsAsync(client.unary(fail, 'read again', { mutates: true }));
  t.true(isShoalError(stale, 'out-of-sequence'));
  t.is(stale.message, 'read again');
  const elsewhere = await t.throwsAsync(client.unary(fail, 'leader'));
  t.true(elsewhere instanceof NotLeaderError && elsewhere.leader === 'node7');
  t.true(isShoalError(await t.throwsAsync(client.unary(fail, 'bug')), 'internal'));
  t.true(
    isShoalError(
      await t.throwsAsync(client.unary(textMethod('/test.Echo/No'), '')),
      'unimplemented',
    ),
  );
});

test('many responses come in order, also more than the sockets hold', async (t) => {
  const { client } = t.context;
  const seen: string[] = [];
  await client.each(count, '150', (bytes) => {
    t.is(bytes.length, 100_000);
    seen.push(String.fromCharCode(bytes[0] ?? 0));
  });
  t.deepEqual(
    seen,
    Array.from({ length: 150 }, (_, i) => String(i % 10)),
  );
  let before = 0;
  const error = await t.throwsAsync(client.each(count, '3', () => before++));
  t.true(isShoalError(error, 'not-found'));
  t.is(before, 3);
});

test('a reader that throws ends its call and no other', async (t) => {
  const { client } = t.context;
  const broken = client.each(count, '5', () => {
    throw new Error('cannot read this');
  });
  const other = client.unary(echo, 'x');
  t.true(isShoalError(await t.throwsAsync(broken), 'internal'));
  t.regex(await other, /^x /);
});

test('an abort cancels the call on the server', async (t) => {
  const { client, hung, hanging } = t.context;
  const stop = new AbortController();
  const call = client.unary(hang, '', { signal: stop.signal, mutates: true });
  await hanging.promise;
  stop.abort(new Error('enough'));
  t.true(isShoalError(await t.throwsAsync(call), 'cancelled'));
  t.regex(await client.unary(echo, 'x'), /^x /); // the cancellation went before it
  t.true(hung[0]?.aborted);
  await t.throwsAsync(client.unary(echo, 'x', { signal: stop.signal }), { message: /enough/ });
});

test('a deadline ends a call; of a write the outcome is then not known', async (t) => {
  const { client } = t.context;
  const read = await t.throwsAsync(client.unary(hang, '', { deadlineMs: 1 }));
  t.true(isShoalError(read, 'deadline-exceeded'));
  const write = await t.throwsAsync(client.unary(hang, '', { deadlineMs: 1, mutates: true }));
  t.true(isShoalError(write, 'unknown-outcome'));
});

test('a lost connection ends its calls, and the next call opens another', async (t) => {
  const { client, sockets, hanging } = t.context;
  const read = client.unary(hang, '');
  const write = client.unary(hang, '', { mutates: true });
  await hanging.promise;
  sockets[0]?.destroy();
  t.true(isShoalError(await t.throwsAsync(read), 'unavailable'));
  t.true(isShoalError(await t.throwsAsync(write), 'unknown-outcome'));
  t.regex(await client.unary(echo, 'x'), /^x /);
});

test('without a server a call is unavailable, a write too: it never left', async (t) => {
  const client = new LinkClient(() => connect(`${t.context.path}.none`));
  const error = await t.throwsAsync(client.unary(echo, '', { mutates: true }));
  t.true(isShoalError(error, 'unavailable'), error.message);
  client.close();
  t.true(isShoalError(await t.throwsAsync(client.unary(echo, '')), 'unavailable'));
  const local = new LinkClient(() => connect(`${t.context.path}.none`), { notConnected: 'not up' });
  await t.throwsAsync(local.unary(echo, ''), { message: /^not up: connect ENOENT / });
  local.close();
});

test('bytes of another protocol close the connection', async (t) => {
  const socket = connect(t.context.path);
  socket.resume();
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await new Promise((resolve) => socket.once('close', resolve));
  t.pass();
});

test('close() lets calls end, but not for longer than its grace', async (t) => {
  const { client, links, hung, hanging } = t.context;
  const call = client.unary(hang, '', { mutates: true });
  await hanging.promise;
  const closing = links.close(20);
  t.true(isShoalError(await t.throwsAsync(client.unary(echo, '')), 'unavailable'));
  await closing;
  t.true(isShoalError(await t.throwsAsync(call), 'unknown-outcome'));
  if (hung[0] !== undefined) await aborted(hung[0]);
});

test('a server that answers nothing, not even pings, is given up', async (t) => {
  const path = `${t.context.path}.dead`;
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(path, resolve));
  const client = new LinkClient(() => connect(path), { pingMs: 10 });
  const error = await t.throwsAsync(client.unary(echo, '', { mutates: true }));
  t.true(isShoalError(error, 'unknown-outcome'));
  t.regex(error.message, /does not answer/);
  dead.close();
});

test('pings are answered while a call takes its time', async (t) => {
  const socket = connect(t.context.path);
  t.teardown(() => socket.destroy());
  const call = encodeCall({ path: hang.path, deadlineMs: undefined }, Buffer.alloc(0));
  socket.write(Buffer.concat([...frameParts(LINK.call, 1, call), ...frameParts(LINK.ping, 7)]));
  const reader = new LinkReader(100);
  const answered = await new Promise<LinkFrame>((resolve) => {
    socket.on('data', (chunk) => reader.push(chunk, resolve));
  });
  t.like(answered, { kind: LINK.pong, call: 7 });
});
