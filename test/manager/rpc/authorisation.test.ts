// Every method against every kind of caller, from a table written out here by hand: what a worker may
// do must not change because a line moved in the code.
import test from 'ava';
import {
  ACCESS,
  type CallerKind,
  judge,
  type MethodPath,
} from '../../../manager/rpc/authorisation.ts';
import { FORWARDED_BY, FORWARDED_FOR, Guard } from '../../../manager/rpc/guard.ts';
import { createAction } from '../../../manager/store/tables.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { CertificateAuthorityService } from '../../../shared/gen/shoal/v1/ca.ts';
import { ControlService } from '../../../shared/gen/shoal/v1/control.ts';
import { DispatcherService } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { type Node, NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import type { Caller } from '../../../shared/rpc/caller.ts';
import { clusterFixture, nodeFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const EXPECTED: Readonly<Record<string, string>> = {
  //                                               none worker manager local
  'CertificateAuthority/GetRootCertificate': '        yes yes yes yes',
  'CertificateAuthority/IssueNodeCertificate': '      yes yes yes yes',
  'CertificateAuthority/RenewNodeCertificate': '      no  yes yes yes',
  'CertificateAuthority/RecoverNodeCertificate': '    yes yes yes yes',
  'Dispatcher/Session': '                             no  yes yes yes',
  'Dispatcher/PublishLogs': '                         no  yes yes yes',
  'Control/Get': '                                    no  no  yes yes',
  'Control/List': '                                   no  no  yes yes',
  'Control/Create': '                                 no  no  yes yes',
  'Control/Update': '                                 no  no  yes yes',
  'Control/Remove': '                                 no  no  yes yes',
  'Control/GetCluster': '                             no  no  yes yes',
  'Control/UpdateCluster': '                          no  no  yes yes',
  'Control/Watch': '                                  no  no  yes yes',
  'Control/GetAutoscaling': '                         no  no  yes yes',
  'Control/ServiceLogs': '                            no  no  yes yes',
  'Control/GetUnlockKey': '                           no  no  no  yes',
  'Control/FollowUnlockKey': '                        no  no  no  yes',
  'Control/Backup': '                                 no  no  no  yes',
  'Peer/JoinRaft': '                                  no  no  yes no',
  'Peer/LeaveRaft': '                                 no  no  yes yes',
  'Peer/ReportTaskStatuses': '                        no  no  yes no',
  'Peer/ReportLiveness': '                            no  no  yes no',
  'Peer/ReportSamples': '                             no  no  yes no',
  'Peer/AwaitApplied': '                              no  no  yes no',
  'Peer/Logs': '                                      no  no  yes no',
};
const KINDS: readonly CallerKind[] = ['none', 'worker', 'manager', 'local'];

const worker = nodeFixture({ id: 'w', spec: { role: NodeRole.WORKER } });
const manager = nodeFixture({ id: 'm', spec: { role: NodeRole.MANAGER } });

function callerOf(kind: CallerKind, clusterId = 'c'): [Caller | undefined, Node | undefined] {
  switch (kind) {
    case 'none':
      return [undefined, undefined];
    case 'worker':
      return [{ nodeId: 'w', role: 'worker', clusterId, local: false }, worker];
    case 'manager':
      return [{ nodeId: 'm', role: 'manager', clusterId, local: false }, manager];
    case 'local':
      return [{ nodeId: 'm', role: 'manager', clusterId, local: true }, manager];
  }
}

test('the table names every method of every service, and no other', (t) => {
  const services = [ControlService, DispatcherService, CertificateAuthorityService, PeerService];
  const paths = services.flatMap((service) => Object.values(service).map(({ path }) => path));
  t.deepEqual(Object.keys(ACCESS).sort(), paths.sort());
  t.deepEqual(
    Object.keys(EXPECTED)
      .map((name) => `/shoal.v1.${name}`)
      .sort(),
    paths.sort(),
  );
});

for (const [method, row] of Object.entries(EXPECTED)) {
  test(`${method} is for: ${row.trim().replaceAll(/\s+/g, ' ')}`, (t) => {
    const words = row.trim().split(/\s+/);
    for (const [i, kind] of KINDS.entries()) {
      const [caller, node] = callerOf(kind);
      const verdict = judge(`/shoal.v1.${method}` as MethodPath, caller, node, 'c');
      t.is(verdict.kind, words[i] === 'yes' ? 'allowed' : 'refused', kind);
    }
  });
}

test('a method that is not in the table is refused to everybody', (t) => {
  for (const kind of KINDS) {
    const [caller, node] = callerOf(kind);
    t.is(judge('/shoal.v1.Control/Explode' as MethodPath, caller, node, 'c').kind, 'refused');
  }
});

test('refusals say what to do, with the right code', (t) => {
  const path = '/shoal.v1.Control/Create';
  const refusal = (...args: Parameters<typeof judge>) => {
    const verdict = judge(...args);
    return verdict.kind === 'refused' ? `${verdict.error.code}: ${verdict.error.message}` : '';
  };
  t.regex(refusal(path, undefined, undefined, 'c'), /^unauthenticated: .*join the cluster first/);
  t.regex(refusal(path, ...callerOf('worker'), 'c'), /^permission-denied: node w is a worker/);
  t.regex(
    refusal(path, ...callerOf('manager', 'd'), 'c'),
    /^permission-denied: .* of cluster d, not/,
  );
});

test('a manager’s certificate counts while its node is meant to be one, or is still a member', (t) => {
  const [caller] = callerOf('manager');
  const as = (node: Node) => {
    const verdict = judge('/shoal.v1.Dispatcher/Session', caller, node, 'c');
    return verdict.kind === 'allowed' ? verdict.as : verdict.kind;
  };
  t.is(as(manager), 'manager');
  t.is(as(worker), 'worker', 'demoted, and out of consensus');
  t.is(
    as({
      ...worker,
      managerStatus: { raftId: '1', address: '', raftAddress: '', leader: false, reachable: true },
    }),
    'manager',
  );
  const [byWorker] = callerOf('worker');
  const promoted = judge('/shoal.v1.Control/Get', byWorker, manager, 'c');
  t.is(promoted.kind, 'refused', 'promoted, but without a manager’s certificate yet');
});

async function guardWith(nodes: readonly Node[]) {
  const fixture = await storeFixture({ cluster: [clusterFixture({ id: 'c' })], node: nodes });
  const guard = new Guard({ ...fixture, clusterId: 'c' });
  const admit = (caller: Caller | undefined, metadata: Record<string, string> = {}) =>
    guard.admit('/shoal.v1.CertificateAuthority/RenewNodeCertificate', {
      caller,
      metadata: (key) => metadata[key],
      signal: new AbortController().signal,
    });
  return { ...fixture, admit };
}

test('a node that was removed is refused, after the replica was made sure of', async (t) => {
  const { admit, consensus } = await guardWith([]);
  const error = await t.throwsAsync(() => admit(callerOf('worker')[0]));
  t.true(isShoalError(error, 'permission-denied'));
  t.regex(error?.message ?? '', /node w was removed/);
  t.is(consensus.barriers, 1);
});

test('a replica without any state of its cluster tells nobody that it was removed', async (t) => {
  const fixture = await storeFixture({});
  const guard = new Guard({ ...fixture, clusterId: 'c' });
  const origin = { metadata: () => undefined, signal: new AbortController().signal };
  for (const kind of ['worker', 'manager'] as const) {
    const call = guard.admit('/shoal.v1.Dispatcher/Session', {
      caller: callerOf(kind)[0],
      ...origin,
    });
    const error = await t.throwsAsync(call);
    t.true(isShoalError(error, 'unavailable'), error?.message);
  }
});

test('a node that joined at the leader a moment ago is let in by a replica that lags', async (t) => {
  const { admit, consensus, writer } = await guardWith([]);
  consensus.readBarrier = async () => {
    await writer.write([createAction('node', worker)]);
    return 1;
  };
  t.like(await admit(callerOf('worker')[0]), { as: 'worker', nodeId: 'w', isForwarded: false });
});

test('only managers can call in the name of another node', async (t) => {
  const { admit } = await guardWith([worker, manager]);
  const metadata = { [FORWARDED_BY]: 'x', [FORWARDED_FOR]: 'victim' };
  t.like(await admit(callerOf('manager')[0], metadata), { nodeId: 'victim', isForwarded: true });
  t.like(await admit(callerOf('worker')[0], metadata), { nodeId: 'w', isForwarded: false });
  t.like(await admit(callerOf('local')[0], metadata), { nodeId: 'm', isForwarded: false });
});
