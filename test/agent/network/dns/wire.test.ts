import test from 'ava';
import { encode } from 'dns-packet';
import fc from 'fast-check';
import { MessageCache } from '../../../../agent/network/dns/cache.ts';
import { forwardersOf } from '../../../../agent/network/dns/resolv-conf.ts';
import { errorMessage, readMessage, reissue } from '../../../../agent/network/dns/wire.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const question = { type: 'A', name: 'Example.com' } as const;
const query = encode({ type: 'query', id: 7, flags: 0x100, questions: [question] });
const answer = (ttls: number[], code = 0) =>
  encode({
    type: 'response',
    id: 7,
    flags: 0x8180 | code,
    questions: [{ ...question, name: 'example.com' }],
    answers: ttls.map((ttl, i) => ({ type: 'A', name: 'example.com', ttl, data: `192.0.2.${i}` })),
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 1232,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  });
const facts = (bytes: Uint8Array) => {
  const read = readMessage(bytes);
  if (read === undefined) throw new Error('malformed');
  return read;
};

test('readMessage() finds times to live, but not those of pseudo records', (t) => {
  const read = facts(answer([300, 20]));
  t.is(read.ttlSeconds, 20);
  t.is(read.ttlOffsets.length, 2);
  t.is(read.code, 0);
  t.is(read.question, facts(query).question, 'letter case does not matter');
});

test('readMessage() takes the life of a negative answer from its SOA', (t) => {
  const negative = encode({
    type: 'response',
    id: 1,
    flags: 0x8183,
    questions: [question],
    authorities: [
      {
        type: 'SOA',
        name: 'com',
        ttl: 900,
        data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 60 },
      },
    ],
  });
  t.is(facts(negative).ttlSeconds, 60);
  t.is(facts(negative).code, 3);
});

test('reissue() gives another asker its id and what is left of the times to live', (t) => {
  const bytes = answer([300, 20]);
  const again = reissue(bytes, facts(bytes), 0xbeef, 15);
  t.deepEqual([again[0], again[1]], [0xbe, 0xef]);
  t.is(facts(again).ttlSeconds, 5);
  t.is(facts(reissue(bytes, facts(bytes), 1, 50)).ttlSeconds, 0);
  t.is(facts(bytes).ttlSeconds, 20, 'the original stays');
});

test('errorMessage() keeps id and question', (t) => {
  const error = errorMessage(query, 2) ?? new Uint8Array();
  t.is(facts(error).code, 2);
  t.is(facts(error).question, facts(query).question);
  t.deepEqual([error[0], error[1]], [0, 7]);
  t.true(((error[2] ?? 0) & 0x80) !== 0);
  t.is(errorMessage(query.subarray(0, 11), 2), undefined);
  t.is(errorMessage(query.subarray(0, 14), 1)?.length, 12, 'a cut question is left out');
});

test('readMessage() of anything ends, and never throws', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readMessage(bytes);
      errorMessage(bytes, 1);
    }),
  );
  fc.assert(
    fc.property(fc.nat(answer([1, 2]).length), fc.nat(255), (at, value) => {
      const bytes = Uint8Array.from(answer([1, 2]));
      bytes[at] = value;
      readMessage(bytes);
    }),
  );
  t.pass();
});

test('MessageCache keeps an answer as long as it says, a minute at most, and no failures', (t) => {
  const clock = new ManualClock();
  const cache = new MessageCache(clock);
  const put = (key: string, bytes: Uint8Array) => cache.put(key, { bytes, facts: facts(bytes) });
  put('short', answer([20]));
  put('long', answer([9000]));
  put('failed', answer([20], 2));
  put('missing', answer([], 3));
  t.truthy(cache.get('short'));
  t.is(cache.get('failed'), undefined);
  t.truthy(cache.get('missing'));
  return clock.advance(6_000).then(async () => {
    t.is(cache.get('short')?.ageSeconds, 6);
    t.is(cache.get('missing'), undefined);
    await clock.advance(15_000);
    t.is(cache.get('short'), undefined);
    t.truthy(cache.get('long'));
    await clock.advance(40_000);
    t.is(cache.get('long'), undefined);
  });
});

test('MessageCache forgets the oldest when it is full', (t) => {
  const cache = new MessageCache(new ManualClock());
  const bytes = answer([60]);
  for (let i = 0; i <= 2_000; i++) cache.put(`k${i}`, { bytes, facts: facts(bytes) });
  t.is(cache.get('k0'), undefined);
  t.truthy(cache.get('k1'));
  t.truthy(cache.get('k2000'));
});

test('forwardersOf() reads name servers, without ourselves, three at most', (t) => {
  const text = `# nameserver 9.9.9.9
search example.com
nameserver 10.0.0.1
  nameserver 127.0.0.11
nameserver fe80::1%eth0
nameserver 10.0.0.1
nameserver not-an-address
nameserver 10.0.0.2
nameserver 10.0.0.3
`;
  t.deepEqual(forwardersOf(text, ['127.0.0.11']), ['10.0.0.1', 'fe80::1%eth0', '10.0.0.2']);
  t.deepEqual(forwardersOf('', []), []);
});
