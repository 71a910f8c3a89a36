import test from 'ava';
import fc from 'fast-check';
import {
  decodeSessionCommand,
  encodeSessionCommand,
  type SessionCommand,
  Sessions,
} from '../../../manager/raft/sessions.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { bytes } from './group.ts';

const LIMITS = { maxSessions: 2, maxWritesAhead: 4 };
const OPEN: SessionCommand = { kind: 'open' };

function write(session: number, seq: number, floor = 1): SessionCommand {
  return { kind: 'write', session, seq, floor, data: bytes(`${session}.${seq}`) };
}

test('a session is named by the entry that opened it, and each of its writes counts once', (t) => {
  const sessions = new Sessions(LIMITS);
  t.deepEqual(sessions.take(5, OPEN), { kind: 'opened', session: 5 });
  t.deepEqual(sessions.take(6, write(5, 1)), { kind: 'apply', data: bytes('5.1') });
  t.deepEqual(sessions.take(7, write(5, 1)), { kind: 'repeat', index: 6 });
});

test('writes that overtook each other count all, each once', (t) => {
  const sessions = new Sessions(LIMITS);
  sessions.take(1, OPEN);
  t.is(sessions.take(2, write(1, 3)).kind, 'apply');
  t.is(sessions.take(3, write(1, 1)).kind, 'apply', 'an older one that was slower is no repeat');
  t.deepEqual(sessions.take(4, write(1, 3)), { kind: 'repeat', index: 2 });
});

test('below its floor a session remembers nothing, and takes nothing', (t) => {
  const sessions = new Sessions(LIMITS);
  sessions.take(1, OPEN);
  sessions.take(2, write(1, 1));
  sessions.take(3, write(1, 2, 2));
  t.deepEqual(sessions.take(4, write(1, 1)), { kind: 'repeat', index: undefined });
  t.deepEqual(sessions.take(5, write(1, 2)), { kind: 'repeat', index: 3 });
});

test('a session that is not known applies nothing: whether it did before cannot be told', (t) => {
  const sessions = new Sessions(LIMITS);
  t.deepEqual(sessions.take(1, write(9, 1)), { kind: 'refused', reason: 'no-session' });
});

test('the session that wrote least recently makes room, and cannot come back', (t) => {
  const sessions = new Sessions(LIMITS);
  sessions.take(1, OPEN);
  sessions.take(2, OPEN);
  sessions.take(3, write(1, 1));
  sessions.take(4, OPEN);
  t.is(sessions.take(5, write(1, 2)).kind, 'apply');
  t.deepEqual(sessions.take(6, write(2, 1)), { kind: 'refused', reason: 'no-session' });
});

test('a session is bounded by how far it may run ahead of its floor', (t) => {
  const sessions = new Sessions(LIMITS);
  sessions.take(1, OPEN);
  t.is(sessions.take(2, write(1, 4)).kind, 'apply');
  t.deepEqual(sessions.take(3, write(1, 5)), { kind: 'refused', reason: 'too-far-ahead' });
  t.is(sessions.take(4, write(1, 5, 2)).kind, 'apply');
});

test('an entry taken twice is an error of the owner', (t) => {
  const sessions = new Sessions(LIMITS);
  sessions.take(3, OPEN);
  t.throws(() => sessions.take(3, OPEN), { message: /taken by sessions twice/ });
});

const seqs = fc.array(
  fc.record({ open: fc.boolean(), session: fc.nat(12), seq: fc.integer({ min: 1, max: 9 }) }),
  { maxLength: 40 },
);

test('after a snapshot in the midst of it, everything goes on as without', (t) => {
  fc.assert(
    fc.property(seqs, fc.nat(40), (steps, cut) => {
      const plain = new Sessions(LIMITS);
      let other = new Sessions(LIMITS);
      const applied = new Set<string>();
      for (const [i, { open, session, seq }] of steps.entries()) {
        if (i === cut) other = Sessions.decode(other.encode(), LIMITS);
        const command = open ? OPEN : write(session, seq);
        const verdict = plain.take(i + 1, command);
        t.deepEqual(other.take(i + 1, command), verdict);
        t.deepEqual(other.encode(), plain.encode(), 'equal states, equal bytes');
        if (verdict.kind !== 'apply') continue;
        t.false(applied.has(`${session}.${seq}`), 'applied twice');
        applied.add(`${session}.${seq}`);
      }
    }),
  );
});

test('commands come back as they went; anything else is refused as malformed', (t) => {
  for (const command of [OPEN, write(2 ** 40, 7, 3)]) {
    const encoded = encodeSessionCommand(command);
    t.deepEqual(decodeSessionCommand(encoded), command);
    for (const bad of [encoded.slice(0, -1), Uint8Array.of(...encoded, 0)]) {
      const error = t.throws(() => decodeSessionCommand(bad));
      t.true(isShoalError(error, 'invalid-argument'));
    }
  }
  t.throws(() => Sessions.decode(Uint8Array.of(9), LIMITS), { message: /not known/ });
});
