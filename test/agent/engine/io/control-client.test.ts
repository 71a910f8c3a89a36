import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { managerControlClient } from '../../../../agent/engine/io/control-client.ts';
import { aborted } from '../../../../shared/abort.ts';
import { isShoalError, ShoalError } from '../../../../shared/errors.ts';
import {
  ClusterInfo,
  ControlService,
  type ListRequest,
} from '../../../../shared/gen/shoal/v1/control.ts';
import { IdentityHolder } from '../../../../shared/pki/identity.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import {
  handleServerStream,
  handleUnary,
  RpcServer,
  type ServiceHandlers,
} from '../../../../shared/rpc/io/server.ts';
import { issueIdentity } from '../../../support/identity.ts';
import { nodeFixture, serviceFixture } from '../../../support/objects.ts';

const IDENTITY = issueIdentity(createRootCa(), 'manager');

type Handlers = ServiceHandlers<typeof ControlService>;
const unused = handleUnary<never, never>(() => {
  throw new Error('not part of this test');
});

async function clientOf(t: ExecutionContext, handlers: Partial<Handlers>) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-control-'));
  const path = join(folder, 'manager.sock');
  const server = new RpcServer({ identity: new IdentityHolder(IDENTITY) });
  const all = Object.fromEntries(Object.keys(ControlService).map((name) => [name, unused]));
  server.serve(ControlService, { ...all, ...handlers } as Handlers);
  await server.listenLocal(path);
  const client = managerControlClient(path);
  t.teardown(async () => {
    client.close();
    await server.close(0);
    await rm(folder, { recursive: true, force: true });
  });
  return client;
}

test('list() joins the chunks of a long answer, in order', async (t) => {
  const services = Array.from({ length: 5 }, () => serviceFixture());
  let asked: ListRequest | undefined;
  const client = await clientOf(t, {
    list: handleServerStream(async function* (request) {
      asked = request;
      for (const [i, value] of services.entries()) {
        yield {
          objects: [{ kind: { $case: 'service', value } }],
          serviceStatus: [{ runningTasks: i, desiredTasks: 9, completedTasks: 0 }],
          index: 7,
        };
      }
    }),
  });
  const got = await client.list('service', { names: ['w'], withStatus: true });
  t.deepEqual(
    got.objects.map(({ id }) => id),
    services.map(({ id }) => id),
  );
  t.deepEqual(
    got.serviceStatus.map(({ runningTasks }) => runningTasks),
    [0, 1, 2, 3, 4],
  );
  t.like(asked, { kind: 'service', names: ['w'], withStatus: true, upToDate: false, stale: false });
});

test('errors come back with the code and the words of the manager', async (t) => {
  const client = await clientOf(t, {
    create: handleUnary(() => {
      throw new ShoalError('already-exists', 'name taken');
    }),
  });
  const error = await t.throwsAsync(client.create({ kind: undefined }));
  t.true(isShoalError(error, 'already-exists'));
  t.is(error.message, 'name taken');
});

test('an object of another kind than asked for is an error, not a surprise', async (t) => {
  const client = await clientOf(t, {
    get: handleUnary(() => ({
      object: { kind: { $case: 'node', value: nodeFixture() } },
      index: 7,
    })),
    getCluster: handleUnary(() => ClusterInfo.fromPartial({ nodes: 3 })),
  });
  const error = await t.throwsAsync(client.get('service', 'x'));
  t.true(isShoalError(error, 'internal'));
  t.is((await client.get('node', 'x')).spec?.name, '');
  t.is((await client.getCluster()).nodes, 3);
});

test('without a manager calls fail as unavailable and do not hang', async (t) => {
  const client = managerControlClient(join(tmpdir(), 'no-such-shoal.sock'));
  t.teardown(() => client.close());
  const error = await t.throwsAsync(client.getCluster());
  t.true(isShoalError(error, 'unavailable'));
});

test('watch() ends when its signal aborts', async (t) => {
  const client = await clientOf(t, {
    watch: handleServerStream(async function* (_request, { signal }) {
      yield { index: 1, atMs: 0, events: [] };
      await aborted(signal);
    }),
  });
  const stop = new AbortController();
  const seen: number[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const { index } of client.watch(['node'], 'now', stop.signal)) {
      seen.push(index);
      stop.abort();
    }
  });
  t.deepEqual(seen, [1]);
  t.true(isShoalError(error, 'cancelled'));
});
