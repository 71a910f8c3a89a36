import test from 'ava';
import { DirtyCheck } from '../../../manager/orchestrator/dirty.ts';
import type { Service } from '../../../shared/gen/shoal/v1/objects.ts';
import { nodeFixture, serviceFixture, taskOf, taskSpecFixture } from '../../support/objects.ts';

type Spec = Parameters<typeof taskSpecFixture>[0];
const node = nodeFixture({ spec: { role: 0, availability: 0, labels: { zone: 'a' } } });
const port = (publishMode: string, publishedPort = 80) => ({
  name: '',
  protocol: 'tcp',
  targetPort: 80,
  publishedPort,
  publishMode,
});

/** Whether a task of the service as it was is dirty after the service became what `to` says. */
function dirtyAfter(
  from: Spec,
  to: Spec,
  endpoint: object = {},
  previousPorts: object[] = [],
): boolean {
  const before = serviceFixture({ specVersion: 1, spec: { task: taskSpecFixture(from) } });
  const task = taskOf(before, { nodeId: node.id, ports: previousPorts as [] });
  const after = {
    ...serviceFixture({ specVersion: 2, spec: { task: taskSpecFixture(to), endpoint } }),
    id: before.id,
  };
  return new DirtyCheck(after as Service).isDirty(task, node);
}

const cases: [title: string, from: Spec, to: Spec, expected: boolean][] = [
  ['nothing changed', {}, {}, false],
  ['another image', {}, { container: { image: 'web:2' } }, true],
  ['a forced update', {}, { forceUpdate: 1 }, true],
  [
    'new registry credentials only',
    {},
    { container: { image: 'web:1', registryAuth: 'x' } },
    false,
  ],
  [
    'a constraint that its node meets',
    {},
    { placement: { constraints: ['node.labels.zone==a'] } },
    false,
  ],
  [
    'a constraint that its node does not meet',
    {},
    { placement: { constraints: ['node.labels.zone==b'] } },
    true,
  ],
  ['no constraint any more', { placement: { constraints: ['node.labels.zone==a'] } }, {}, false],
  ['another limit per node', {}, { placement: { maxReplicasPerNode: 1 } }, true],
  [
    'another image and a constraint',
    {},
    { container: { image: 'web:2' }, placement: { constraints: ['node.labels.zone==a'] } },
    true,
  ],
  [
    'the log driver that the cluster gave it',
    { logDriver: { name: 'json-file', options: {} } },
    {},
    false,
  ],
  ['another log driver', {}, { logDriver: { name: 'local', options: {} } }, true],
];
for (const [title, from, to, expected] of cases) {
  test(`a task is ${expected ? 'replaced' : 'kept'}: ${title}`, (t) => {
    t.is(dirtyAfter(from, to), expected);
  });
}

test('a task is replaced when its host-mode ports change, not when other published numbers do', (t) => {
  t.true(dirtyAfter({}, {}, { ports: [port('host', 81)] }, [port('host', 80)]));
  t.false(dirtyAfter({}, {}, { ports: [port('host', 80)] }, [port('host', 80)]));
  t.false(dirtyAfter({}, {}, { ports: [port('ingress', 81)] }, [port('ingress', 80)]));
  t.true(dirtyAfter({}, {}, { ports: [port('ingress')] }, []), 'it needs the ingress network');
});

test('a task of the same version is kept', (t) => {
  const service = serviceFixture({ specVersion: 3 });
  t.false(
    new DirtyCheck(service).isDirty(
      { ...taskOf(service), spec: taskSpecFixture({ forceUpdate: 9 }) },
      undefined,
    ),
  );
});
