import { ShoalError } from '../errors.ts';
import { type Node, NodeRole } from '../gen/shoal/v1/objects.ts';
import { type Cidr, cidrContains, parseCidr, parseIp } from './cidr.ts';

/** What a constraint looks at. Labels carry the label's own key. */
export type Subject =
  | Readonly<{ kind: 'node.id' | 'node.hostname' | 'node.ip' | 'node.role' }>
  | Readonly<{ kind: 'node.platform.os' | 'node.platform.arch' }>
  | Readonly<{ kind: 'node.labels' | 'engine.labels'; label: string }>;
export type LabelSubject = Extract<Subject, { label: string }>;
/** One placement constraint: equal, or not equal. The value is compared whole, without case. */
export type Constraint = Readonly<{ subject: Subject; negated: boolean; value: string }>;
/** The part of a node that constraints look at. */
export type ConstrainedNode = Pick<
  Node,
  'id' | 'spec' | 'description' | 'status' | 'certificateRole'
>;

const PLAIN_KINDS = [
  'node.id',
  'node.hostname',
  'node.ip',
  'node.role',
  'node.platform.os',
  'node.platform.arch',
] as const;
const LABEL_KINDS = ['node.labels', 'engine.labels'] as const;
const KEY_PATTERN = /^[a-z_][a-z0-9\-_.]+$/i;
// What Swarm's clients can write: no quotes, commas or signs that other grammars give a meaning.
const VALUE_PATTERN = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;

/**
 * Reads `key==value` or `key!=value`. Throws ShoalError `invalid-argument`, in Swarm's words where
 * it has some. Unlike Swarm, a key that nothing defines is refused here: there it was accepted and
 * the service then waited for ever.
 */
export function parseConstraint(expression: string): Constraint {
  const match = /==|!=/.exec(expression);
  if (match === null) {
    throw invalid(`constraint expected one operator from ==, !=: got "${expression}"`);
  }
  const key = expression.slice(0, match.index).trim();
  const value = expression.slice(match.index + 2).trim();
  if (!KEY_PATTERN.test(key)) throw invalid(`key '${key}' is invalid`);
  if (!VALUE_PATTERN.test(value)) throw invalid(`value '${value}' is invalid`);
  const subject = subjectOf(key);
  if (subject === undefined) {
    const known = [...PLAIN_KINDS, ...LABEL_KINDS.map((kind) => `${kind}.<label>`)].join(', ');
    throw invalid(`key '${key}' is invalid: expected one of ${known}`);
  }
  if (subject.kind === 'node.ip' && parseIp(value) === undefined && !parseCidr(value)) {
    throw invalid(`value '${value}' is invalid: node.ip needs an address or a subnet`);
  }
  return { subject, negated: match[0] === '!=', value };
}

export function parseConstraints(expressions: readonly string[]): Constraint[] {
  return expressions.map(parseConstraint);
}

/** Whether the node meets all of them. */
export function meetsConstraints(
  constraints: readonly Constraint[],
  node: ConstrainedNode,
): boolean {
  return constraints.every((constraint) => meetsConstraint(constraint, node));
}

/** A label that the node lacks counts as the empty text: `==` fails, `!=` holds. */
export function meetsConstraint(constraint: Constraint, node: ConstrainedNode): boolean {
  const { subject, value, negated } = constraint;
  const equal =
    subject.kind === 'node.ip'
      ? addressMatches(value, node.status?.address ?? '')
      : subjectValue(subject, node).toLowerCase() === value.toLowerCase();
  return equal !== negated;
}

/** `node.labels.zone` or `engine.labels.zone`, what nodes are spread over; undefined for all else. */
export function parseLabelSubject(descriptor: string): LabelSubject | undefined {
  const subject = subjectOf(descriptor);
  return subject !== undefined && 'label' in subject ? subject : undefined;
}

/** The value of the subject on this node; empty when it has none. */
export function subjectValue(subject: Subject, node: ConstrainedNode): string {
  switch (subject.kind) {
    case 'node.id':
      return node.id;
    case 'node.hostname':
      return node.description?.hostname ?? '';
    case 'node.ip':
      return node.status?.address ?? '';
    case 'node.role':
      return node.certificateRole === NodeRole.MANAGER ? 'manager' : 'worker';
    case 'node.platform.os':
      return node.description?.platform?.os ?? '';
    case 'node.platform.arch':
      return node.description?.platform?.architecture ?? '';
    case 'node.labels':
      return own(node.spec?.labels, subject.label);
    case 'engine.labels':
      return own(node.description?.engineLabels, subject.label);
  }
}

function subjectOf(key: string): Subject | undefined {
  const plain = PLAIN_KINDS.find((kind) => kind === key.toLowerCase());
  if (plain !== undefined) return { kind: plain };
  for (const kind of LABEL_KINDS) {
    // The label itself keeps its case: labels are case-sensitive, the words before are not.
    const label = key.slice(kind.length + 1);
    if (key.toLowerCase().startsWith(`${kind}.`) && label !== '') return { kind, label };
  }
  return undefined;
}

function addressMatches(value: string, address: string): boolean {
  const ip = parseIp(address);
  if (ip === undefined) return false;
  const subnet: Cidr | undefined = parseCidr(value);
  if (subnet !== undefined) return cidrContains(subnet, ip);
  const wanted = parseIp(value);
  return wanted?.family === ip.family && wanted.value === ip.value;
}

/** Labels are chosen by people: `constructor` must not find what every object inherits. */
function own(labels: Readonly<Record<string, string>> | undefined, key: string): string {
  return labels !== undefined && Object.hasOwn(labels, key) ? (labels[key] ?? '') : '';
}

function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message);
}
