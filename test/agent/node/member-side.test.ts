import test from 'ava';
import {
  type LocalManager,
  MemberSide,
  type MemberSideDeps,
} from '../../../agent/node/member-side.ts';
import { ManagerDirectory } from '../../../agent/session/managers.ts';
import { systemClock, systemRandom } from '../../../shared/io/system.ts';
import { silentLog } from '../../../shared/log.ts';
import { IdentityHolder } from '../../../shared/pki/identity.ts';

const LOCAL = 'unix:///run/shoal/manager.sock';
type Role = 'manager' | 'worker';

/** A side of a host whose record and certificate say these roles; `done` is what it did, in order. */
function sideOf(written: Role, certificate: Role) {
  const done: string[] = [];
  const note = (what: string) => async () => {
    done.push(what);
  };
  const manager = {
    start: () => done.push('start manager'),
    stop: note('stop manager'),
    followUnlockKey: () =>
      (async function* (): AsyncGenerator<never> {
        yield* [];
      })(),
  };
  const managers = new ManagerDirectory('n1', [{ nodeId: 'n2', address: 'n2:1' }], systemRandom);
  const parts = {
    record: { role: written, nodeId: 'n1', clusterId: 'c1', managers: [] },
    makeManager: () => manager as unknown as LocalManager,
    clearManager: note('clear manager'),
    localTarget: LOCAL,
    identity: new IdentityHolder({
      certificatePem: '',
      keyPem: '',
      rootsPem: '',
      holder: { nodeId: 'n1', role: certificate, clusterId: 'c1' },
    }),
    session: {
      start: () => done.push(`session by ${managers.targets()[0]}`),
      close: async () => 0,
    },
    managers,
    tasks: { adopt: async () => 0 },
    dataPlane: { onApplied: () => () => undefined, close: async () => 0 },
    signals: { refresh: () => undefined, close: async () => 0 },
    certificates: { run: async () => 0 },
    remember: async ({ role }: { role: Role }) => {
      done.push(`remember ${role}`);
    },
    clock: systemClock,
    log: silentLog,
  };
  return { side: new MemberSide(parts as unknown as MemberSideDeps), done };
}

test('a manager goes on as one, by its own manager', async (t) => {
  const { side, done } = sideOf('manager', 'manager');
  await side.start();
  t.deepEqual(done, ['start manager', `session by ${LOCAL}`]);
  await side.close();
});

test('a demotion that a crash cut short is carried out before the session opens', async (t) => {
  const { side, done } = sideOf('manager', 'worker');
  await side.start();
  t.deepEqual(done, ['stop manager', 'clear manager', 'remember worker', 'session by n2:1']);
  await side.close();
});
