import test from 'ava';
import fc from 'fast-check';
import {
  familiarFull,
  familiarName,
  familiarRepository,
  normalisedName,
  parseReference,
} from '../../../agent/image/reference.ts';
import { isShoalError } from '../../../shared/errors.ts';

const D = `sha256:${'a1'.repeat(32)}`;

// As given, as stored, as shown.
const cases: [string, string, string][] = [
  ['web', 'docker.io/library/web:latest', 'web:latest'],
  ['web:1', 'docker.io/library/web:1', 'web:1'],
  ['docker.io/web', 'docker.io/library/web:latest', 'web:latest'],
  ['index.docker.io/library/web:1', 'docker.io/library/web:1', 'web:1'],
  ['team/web', 'docker.io/team/web:latest', 'team/web:latest'],
  ['docker.io/team/web:x', 'docker.io/team/web:x', 'team/web:x'],
  ['localhost/web', 'localhost/web:latest', 'localhost/web:latest'],
  ['localhost:5000/a/b:1', 'localhost:5000/a/b:1', 'localhost:5000/a/b:1'],
  ['127.0.0.1:5000/web', '127.0.0.1:5000/web:latest', '127.0.0.1:5000/web:latest'],
  ['[::1]:5000/web:1', '[::1]:5000/web:1', '[::1]:5000/web:1'],
  ['ghcr.io/o/r/x:v1.2', 'ghcr.io/o/r/x:v1.2', 'ghcr.io/o/r/x:v1.2'],
  [`web@${D}`, `docker.io/library/web@${D}`, `web@${D}`],
  [`web:1@${D}`, `docker.io/library/web@${D}`, `web@${D}`],
];
for (const [given, stored, shown] of cases) {
  test(`"${given}" is stored as "${stored}"`, (t) => {
    const reference = parseReference(given);
    t.is(normalisedName(reference), stored);
    t.is(familiarName(reference), shown);
  });
}

for (const bad of [
  '',
  ':1',
  'web:',
  'web:-x',
  'web@sha256:abc',
  'web@md5:00',
  'a//b',
  '/web',
  'web/',
  'web:1:2',
  '-web',
  'http://x/y',
  'we b',
  'x'.repeat(300),
  'f'.repeat(64),
]) {
  test(`"${bad.slice(0, 20)}" is refused`, (t) => {
    t.true(
      isShoalError(
        t.throws(() => parseReference(bad)),
        'invalid-argument',
      ),
    );
  });
}

test('an upper-case name is told what is wrong with it', (t) => {
  t.throws(() => parseReference('library/Web'), { message: /must be lowercase/ });
});

test('a message shows tag and digest as given', (t) => {
  t.is(familiarFull(parseReference(`web:1@${D}`)), `web:1@${D}`);
  t.is(familiarFull(parseReference(`web@${D}`)), `web@${D}`);
  t.is(familiarRepository(parseReference('docker.io/library/a/b')), 'library/a/b');
});

test('what is stored and what is shown both lead back to the same image', (t) => {
  const part = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const host = fc.constantFrom('', 'docker.io/', 'localhost/', 'reg.example:5000/');
  const tag = fc.constantFrom('', ':1', ':v1.0-x');
  fc.assert(
    fc.property(host, fc.array(part, { minLength: 1, maxLength: 3 }), tag, (h, parts, end) => {
      const reference = parseReference(`${h}${parts.join('/')}${end}`);
      const stored = normalisedName(reference);
      t.is(normalisedName(parseReference(stored)), stored);
      t.is(normalisedName(parseReference(familiarName(reference))), stored);
    }),
  );
});
