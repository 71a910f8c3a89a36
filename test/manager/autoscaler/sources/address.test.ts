import test from 'ava';
import {
  addressOf,
  parseAddress,
  parseHttpUrl,
  parseNatsUrls,
  parseRedisAddresses,
} from '../../../../manager/autoscaler/sources/address.ts';

const ADDRESSES: readonly [string, string, number][] = [
  ['redis:6380', 'redis', 6380],
  ['redis', 'redis', 6379],
  ['shop_redis:1', 'shop_redis', 1],
  ['10.0.0.5:65535', '10.0.0.5', 65_535],
  ['[::1]:7000', '::1', 7000],
  ['[fd00::2]', 'fd00::2', 6379],
];
for (const [text, host, port] of ADDRESSES) {
  test(`the address ${text} is port ${port} of ${host}`, (t) => {
    t.deepEqual(parseAddress(text, 6379), { host, port });
  });
}

for (const text of [
  '',
  ':6379',
  'redis:',
  'redis:0',
  'redis:65536',
  'redis:x',
  '::1',
  'a b:1',
  'redis://redis:1',
]) {
  test(`"${text}" is refused as an address, with the form that is expected`, (t) => {
    t.throws(() => parseAddress(text, 6379), { code: 'invalid-argument', message: /host:port/ });
  });
}

test('an address with a password in it is refused without being repeated', (t) => {
  const error = t.throws(() => parseAddress('user:hunter2@redis:6379', 6379));
  t.notRegex(error.message, /hunter2/);
});

test('a URL of http or https leads to its port, or to the one of its scheme', (t) => {
  const at = (url: string) => addressOf(parseHttpUrl(url));
  t.deepEqual(at('http://api/load'), { host: 'api', port: 80 });
  t.deepEqual(at('https://api/load'), { host: 'api', port: 443 });
  t.deepEqual(at('http://api:8080/load?x=1'), { host: 'api', port: 8080 });
  t.deepEqual(at('http://[::1]:9090'), { host: '::1', port: 9090 });
});

test('URLs of other schemes, and no URLs, are refused', (t) => {
  for (const url of ['ftp://api', 'api:8080', 'api', '', 'file:///etc/passwd']) {
    t.throws(() => parseHttpUrl(url), { code: 'invalid-argument' }, url);
  }
});

test('a URL with a password is refused: the message names the place for it and does not repeat it', (t) => {
  for (const parse of [
    () => parseHttpUrl('http://me:hunter2@api/'),
    () => parseNatsUrls('nats://me:hunter2@nats:4222'),
    () => parseRedisAddresses('rediss://:hunter2@redis'),
  ]) {
    const error = t.throws(parse, { code: 'invalid-argument' });
    t.regex(error.message, /secret/);
    t.notRegex(error.message, /hunter2/);
  }
});

test('Redis servers are separated by commas; TLS where the scheme says it', (t) => {
  t.deepEqual(parseRedisAddresses('a, redis://b:1,rediss://[::1]', 26_379), [
    { host: 'a', port: 26_379, tls: false },
    { host: 'b', port: 1, tls: false },
    { host: '::1', port: 26_379, tls: true },
  ]);
  for (const text of ['http://a:1', 'redis://a:1/0', '', 'a,', 'nats://a']) {
    t.throws(() => parseRedisAddresses(text), { code: 'invalid-argument' }, text);
  }
});

test('NATS servers are separated by commas; tls only where it is said', (t) => {
  t.deepEqual(parseNatsUrls('nats://a:4222, tls://b:4333,c'), [
    { host: 'a', port: 4222, tls: false },
    { host: 'b', port: 4333, tls: true },
    { host: 'c', port: 4222, tls: false },
  ]);
  for (const url of ['http://a:1', 'nats://a:1/path', '', 'nats://a:1,,b']) {
    t.throws(() => parseNatsUrls(url), { code: 'invalid-argument' }, url);
  }
});
