import test from 'ava';
import { RoleKeeper } from '../../../agent/node/role-keeper.ts';
import { ShoalError } from '../../../shared/errors.ts';
import { SessionUpdate } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import { systemClock } from '../../../shared/io/system.ts';
import { silentLog } from '../../../shared/log.ts';
import { IdentityHolder, type TlsIdentity } from '../../../shared/pki/identity.ts';

type Role = 'manager' | 'worker';
const identityOf = (role: Role): TlsIdentity => ({
  certificatePem: '',
  keyPem: '',
  rootsPem: '',
  holder: { nodeId: 'n1', role, clusterId: 'c1' },
});
const update = (role: Role, managers: readonly string[]): SessionUpdate =>
  SessionUpdate.fromPartial({
    node: {
      id: 'n1',
      spec: { role: role === 'manager' ? NodeRole.MANAGER : NodeRole.WORKER },
    },
    managers: managers.map((nodeId) => ({ nodeId, address: `${nodeId}:2377` })),
  });

/** `leader` is what the next certificates say; an error is thrown once. */
function setUp(role: Role, leader: readonly (Role | Error)[]) {
  const done: string[] = [];
  const answers = [...leader];
  let isRunning = role === 'manager';
  const slot = {
    get isRunning() {
      return isRunning;
    },
    start: async () => {
      isRunning = true;
      done.push('start');
    },
    retire: async () => {
      isRunning = false;
      done.push('retire');
    },
  };
  const keeper = new RoleKeeper({
    nodeId: 'n1',
    identity: new IdentityHolder(identityOf(role)),
    renew: async () => {
      const answer = answers.shift() ?? role;
      done.push(answer instanceof Error ? 'renew failed' : `renew ${answer}`);
      if (answer instanceof Error) throw answer;
      return identityOf(answer);
    },
    manager: slot,
    clock: { ...systemClock, after: (_delayMs, fn) => systemClock.after(0, fn) },
    log: silentLog,
  });
  const end = new AbortController();
  const running = keeper.run(end.signal);
  const settle = async () => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const finish = async () => {
    end.abort();
    await running;
  };
  return { keeper, done, settle, finish };
}

test('a promotion renews the certificate, then starts the manager', async (t) => {
  const { keeper, done, settle, finish } = setUp('worker', ['manager']);
  keeper.told(update('manager', ['m1']));
  await settle();
  t.deepEqual(done, ['renew manager', 'start']);
  await finish();
});

test('a demotion waits for the removal, and has the leader confirm it', async (t) => {
  const { keeper, done, settle, finish } = setUp('manager', ['worker']);
  keeper.told(update('worker', ['m1', 'n1']));
  await settle();
  t.deepEqual(done, []);
  keeper.told(update('worker', ['m1']));
  await settle();
  t.deepEqual(done, ['renew worker', 'retire']);
  await finish();
});

test('a manager that is behind ends nothing: the leader’s word counts', async (t) => {
  const { keeper, done, settle, finish } = setUp('manager', ['manager']);
  keeper.told(update('worker', ['m1']));
  await settle();
  t.deepEqual(done, ['renew manager']);
  await finish();
});

test('what fails is tried again', async (t) => {
  const lost = new ShoalError('unavailable', 'no leader');
  const { keeper, done, settle, finish } = setUp('worker', [lost, lost, 'manager']);
  keeper.told(update('manager', ['m1']));
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await settle();
  }
  t.deepEqual(done, ['renew failed', 'renew failed', 'renew manager', 'start']);
  await finish();
});
