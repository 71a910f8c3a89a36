import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { grpcControlClient } from '../../../../agent/engine/io/control-client.ts';
import { isShoalError, ShoalError } from '../../../../shared/errors.ts';
import {
  ClusterInfo,
  type ControlServer,
  ControlService,
  type ListRequest,
} from '../../../../shared/gen/shoal/v1/control.ts';
import { toStatus } from '../../../../shared/rpc/status.ts';
import { nodeFixture, serviceFixture } from '../../../support/objects.ts';

const unused: (...args: never[]) => never = () => {
  throw new Error('not part of this test');
};

async function clientOf(t: ExecutionContext, handlers: Partial<ControlServer>) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-control-'));
  const path = join(folder, 'manager.sock');
  const server = new Server();
  const names = Object.keys(ControlService);
  const all = Object.fromEntries(names.map((name) => [name, unused]));
  server.addService(ControlService, { ...all, ...handlers } as never);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  const client = grpcControlClient(path);
  t.teardown(async () => {
    client.close();
    server.forceShutdown();
    await rm(folder, { recursive: true, force: true });
  });
  return client;
}

test('list() joins the chunks of a long answer, in order', async (t) => {
  const services = Array.from({ length: 5 }, () => serviceFixture());
  let asked: ListRequest | undefined;
  const client = await clientOf(t, {
    list: (call) => {
      asked = call.request;
      services.forEach((value, i) => {
        call.write({
          objects: [{ kind: { $case: 'service', value } }],
          serviceStatus: [{ runningTasks: i, desiredTasks: 9, completedTasks: 0 }],
          index: 7,
        });
      });
      call.end();
    },
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
  t.is(got.index, 7);
  t.like(asked, { kind: 'service', names: ['w'], withStatus: true, upToDate: false });
});

test('errors come back with the code and the words of the manager', async (t) => {
  const client = await clientOf(t, {
    create: (_call, answer) => {
      const { code, details, metadata } = toStatus(new ShoalError('already-exists', 'name taken'));
      const error = Object.assign(new Error(details), { code, details }) as Partial<ServiceError>;
      t.truthy(metadata);
      answer(error);
    },
  });
  const error = await t.throwsAsync(client.create({ kind: undefined }));
  t.true(isShoalError(error, 'already-exists'));
  t.is(error.message, 'name taken');
});

test('an object of another kind than asked for is an error, not a surprise', async (t) => {
  const client = await clientOf(t, {
    get: (_call, answer) => answer(null, { kind: { $case: 'node', value: nodeFixture() } }),
    getCluster: (_call, answer) => answer(null, ClusterInfo.fromPartial({ nodes: 3 })),
  });
  const error = await t.throwsAsync(client.get('service', 'x'));
  t.true(isShoalError(error, 'internal'));
  t.is((await client.get('node', 'x')).spec?.name, '');
  t.is((await client.getCluster()).nodes, 3);
});

test('without a manager calls fail as unavailable and do not hang', async (t) => {
  const client = grpcControlClient(join(tmpdir(), 'no-such-shoal.sock'));
  t.teardown(() => client.close());
  const error = await t.throwsAsync(client.getCluster());
  t.true(isShoalError(error, 'unavailable'));
});

test('watch() ends when its signal aborts', async (t) => {
  const client = await clientOf(t, {
    watch: (call) => {
      call.write({ index: 1, events: [] });
    },
  });
  const stop = new AbortController();
  const seen: number[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const { index } of client.watch(['node'], stop.signal)) {
      seen.push(index);
      stop.abort();
    }
  });
  t.deepEqual(seen, [1]);
  t.true(isShoalError(error, 'cancelled'));
});
