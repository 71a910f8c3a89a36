import test from 'ava';
import {
  type Connection,
  Connections,
} from '../../../../manager/autoscaler/sources/connections.ts';

class FakeConnection implements Connection {
  closed = false;
  close(): void {
    this.closed = true;
  }
}

/** Counts what it opens. */
function opener() {
  const opened: FakeConnection[] = [];
  const open = async () => {
    const connection = new FakeConnection();
    opened.push(connection);
    return connection;
  };
  return { opened, open };
}

test('all who ask for a server share one connection, also while it is being opened', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { opened, open } = opener();
  const [a, b, c] = [connections.lease(), connections.lease(), connections.lease()];
  const [first, second] = await Promise.all([a.use('x', open), b.use('x', open)]);
  t.is(first, second);
  t.is(await c.use('x', open), first);
  t.is(opened.length, 1);
});

test('a connection is closed when the last one lets go of it', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { open } = opener();
  const [a, b] = [connections.lease(), connections.lease()];
  const connection = await a.use('x', open);
  await b.use('x', open);
  a.close();
  t.false(connection.closed);
  b.close();
  t.true(connection.closed);
  t.is(connections.size, 0);
});

test('asking for another server lets go of the one before', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { open } = opener();
  const lease = connections.lease();
  const before = await lease.use('old password', open);
  const after = await lease.use('new password', open);
  t.true(before.closed);
  t.false(after.closed);
  t.is(connections.size, 1);
});

test('a connection that was lost is opened anew, once for all', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { opened, open } = opener();
  const [a, b] = [connections.lease(), connections.lease()];
  (await a.use('x', open)).close();
  const [first, second] = await Promise.all([b.use('x', open), a.use('x', open)]);
  t.is(first, second);
  t.is(opened.length, 2);
});

test('a connection that could not be opened is tried again, and holds nothing', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { open } = opener();
  const lease = connections.lease();
  await t.throwsAsync(() => lease.use('x', () => Promise.reject(new Error('refused'))), {
    message: 'refused',
  });
  t.false((await lease.use('x', open)).closed);
  lease.close();
  t.is(connections.size, 0);
});

test('a connection that nobody wants any more when it is open is closed', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { promise, resolve } = Promise.withResolvers<FakeConnection>();
  const lease = connections.lease();
  const using = lease.use('x', () => promise);
  lease.close();
  const late = new FakeConnection();
  resolve(late);
  t.true((await using).closed);
  t.is(connections.size, 0);
});

test('a lease that was closed opens nothing', async (t) => {
  const connections = new Connections<FakeConnection>();
  const { opened, open } = opener();
  const lease = connections.lease();
  lease.close();
  await t.throwsAsync(() => lease.use('x', open));
  t.is(opened.length, 0);
});
