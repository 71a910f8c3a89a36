import test from 'ava';
import { isShoalError } from '../../../shared/errors.ts';
import { NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  meetsConstraint,
  meetsConstraints,
  parseConstraint,
  parseConstraints,
  parseLabelSubject,
} from '../../../shared/model/constraint.ts';
import { nodeFixture } from '../../support/objects.ts';

const node = nodeFixture({
  id: 'n1',
  spec: { labels: { zone: 'B', 'com.example.disk': 'ssd' } },
  description: {
    hostname: 'host-1',
    platform: { os: 'linux', architecture: 'x86_64' },
    engineLabels: { gpu: 'yes' },
  },
  status: { address: '10.1.2.3' },
  certificateRole: NodeRole.MANAGER,
});

const cases: [string, boolean][] = [
  ['node.id==n1', true],
  ['node.id == n2', false],
  ['node.id!=n2', true],
  ['node.hostname==HOST-1', true],
  ['node.hostname==host', false],
  ['node.role==manager', true],
  ['node.role!=worker', true],
  ['node.platform.os==linux', true],
  ['node.platform.arch==x86_64', true],
  ['node.platform.arch==amd64', false],
  ['node.labels.zone==b', true],
  ['node.labels.ZONE==b', false],
  ['NODE.LABELS.zone==b', true],
  ['node.labels.com.example.disk==ssd', true],
  ['node.labels.none==x', false],
  ['node.labels.none!=x', true],
  ['node.labels.constructor==x', false],
  ['engine.labels.gpu==yes', true],
  ['engine.labels.zone==b', false],
  ['node.ip==10.1.2.3', true],
  ['node.ip==10.1.0.0/16', true],
  ['node.ip!=10.1.0.0/16', false],
  ['node.ip==10.2.0.0/16', false],
  ['node.ip==fd00::/8', false],
];
for (const [expression, expected] of cases) {
  test(`${expression} is ${expected ? 'met' : 'not met'}`, (t) => {
    t.is(meetsConstraint(parseConstraint(expression), node), expected);
  });
}

const bad: [string, string][] = [
  ['', 'constraint expected one operator from ==, !=: got ""'],
  ['node.role=manager', 'constraint expected one operator from ==, !=: got "node.role=manager"'],
  ['node.role>manager', 'constraint expected one operator from ==, !=: got "node.role>manager"'],
  ['1node==x', "key '1node' is invalid"],
  ['no de==x', "key 'no de' is invalid"],
  ['node.id==', "value '' is invalid"],
  ['node.id==a,b', "value 'a,b' is invalid"],
  ['node.id===a', "value '=a' is invalid"],
  ['node.ip==home', "value 'home' is invalid: node.ip needs an address or a subnet"],
  [
    'node.rack==1',
    "key 'node.rack' is invalid: expected one of node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, node.labels.<label>, engine.labels.<label>",
  ],
];
for (const [expression, message] of bad) {
  test(`${JSON.stringify(expression)} is refused: ${message}`, (t) => {
    t.true(
      isShoalError(
        t.throws(() => parseConstraint(expression), { message }),
        'invalid-argument',
      ),
    );
  });
}

test('all constraints must be met, and a node that is not known meets none but negations', (t) => {
  t.true(meetsConstraints(parseConstraints(['node.id==n1', 'node.labels.zone==b']), node));
  t.false(meetsConstraints(parseConstraints(['node.id==n1', 'node.labels.zone==c']), node));
  t.true(meetsConstraints([], node));
  const unknown = { ...node, description: undefined, spec: undefined, status: undefined };
  t.false(meetsConstraints(parseConstraints(['node.hostname==host-1']), unknown));
  t.false(meetsConstraints(parseConstraints(['node.ip==10.1.2.3']), unknown));
  t.true(meetsConstraints(parseConstraints(['node.labels.zone!=b']), unknown));
});

test('only labels can be spread over', (t) => {
  t.deepEqual(parseLabelSubject('node.labels.zone'), { kind: 'node.labels', label: 'zone' });
  t.deepEqual(parseLabelSubject('engine.labels.a.b'), { kind: 'engine.labels', label: 'a.b' });
  t.is(parseLabelSubject('node.labels.'), undefined);
  t.is(parseLabelSubject('node.id'), undefined);
});
