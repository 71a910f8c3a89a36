import test from 'ava';
import { credentialsOf, hiddenOf } from '../../../../manager/autoscaler/sources/credentials.ts';
import { redact } from '../../../../manager/autoscaler/sources/redact.ts';
import { SourceAuth } from '../../../../shared/gen/shoal/v1/autoscale.ts';

const SEED = `SU${'A'.repeat(56)}`;
const SECRETS: Record<string, string> = {
  db: 'hunter2\n',
  token: 'abc\r\n',
  ca: 'PEM\n\n',
  creds: `-----BEGIN USER NKEY SEED-----\n${SEED}\n`,
  pem: 'CERTIFICATE',
};
const secret = (name: string) => {
  const text = SECRETS[name];
  return text === undefined ? undefined : new TextEncoder().encode(text);
};

test('a source without credentials is given nothing', (t) => {
  t.deepEqual(credentialsOf(undefined, secret), {
    username: '',
    password: '',
    token: '',
    ca: '',
    credentials: '',
    certificate: '',
  });
});

test('secrets are read by name, without the line break that an editor leaves', (t) => {
  const auth = SourceAuth.fromPartial({
    username: 'me',
    passwordSecret: 'db',
    tokenSecret: 'token',
    caSecret: 'ca',
    credentialsSecret: 'creds',
    certificateSecret: 'pem',
  });
  const credentials = credentialsOf(auth, secret);
  t.deepEqual(credentials, {
    username: 'me',
    password: 'hunter2',
    token: 'abc',
    ca: 'PEM\n',
    credentials: `-----BEGIN USER NKEY SEED-----\n${SEED}`,
    certificate: 'CERTIFICATE',
  });
  t.deepEqual(hiddenOf(credentials), ['hunter2', 'abc', SEED]);
});

test('a secret that does not exist is an error with its name, and not an empty password', (t) => {
  const auth = SourceAuth.fromPartial({ passwordSecret: 'gone' });
  t.throws(() => credentialsOf(auth, secret), { code: 'not-found', message: /secret gone/ });
});

test('a message of Redis that repeats the password is told without it', (t) => {
  const said = "ERR unknown command 'AUTH', with args beginning with: 'me' 'hunter2'";
  t.is(
    redact(said, ['hunter2']),
    "ERR unknown command 'AUTH', with args beginning with: 'me' '***'",
  );
});

test('a secret that holds another one disappears whole', (t) => {
  t.is(redact('x hunter2-extended y hunter2', ['hunter2', 'hunter2-extended']), 'x *** y ***');
});

test('a message is one line of bounded length', (t) => {
  t.is(redact('a\r\n\tb\u0000c\u001b[31m', []), 'a b c [31m');
  t.is(redact('x'.repeat(1_000), []).length, 300);
});
