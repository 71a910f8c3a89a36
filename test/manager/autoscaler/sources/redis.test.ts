// Replies as servers of version 5 to 7 give them; servers of version 7.0 are asked for real in sources.real.test.ts.
import test from 'ava';
import {
  backlogOf,
  COUNT_AT_MOST,
  elementsOf,
  masterOf,
  movedTo,
  type RedisCall,
} from '../../../../manager/autoscaler/sources/redis.ts';

/** Answers by command; notes what was asked. A command that is not expected fails. */
function server(replies: Readonly<Record<string, unknown>>): { call: RedisCall; asked: string[] } {
  const asked: string[] = [];
  const call: RedisCall = async (command, ...args) => {
    asked.push([command, ...args].join(' '));
    if (!(command in replies)) throw new Error(`unexpected ${command}`);
    return replies[command];
  };
  return { call, asked };
}

for (const [type, command] of [
  ['list', 'LLEN'],
  ['zset', 'ZCARD'],
  ['set', 'SCARD'],
  ['hash', 'HLEN'],
] as const) {
  test(`the elements of a ${type} are counted by ${command}`, async (t) => {
    const { call, asked } = server({ TYPE: type, [command]: 12 });
    t.is(await elementsOf(call, 'jobs'), 12);
    t.deepEqual(asked, ['TYPE jobs', `${command} jobs`]);
  });
}

test('a key that is missing has no elements', async (t) => {
  t.is(await elementsOf(server({ TYPE: 'none' }).call, 'jobs'), 0);
});

for (const type of ['string', 'stream', 'ReJSON-RL']) {
  test(`a ${type} has no length, and that is an error`, async (t) => {
    await t.throwsAsync(() => elementsOf(server({ TYPE: type }).call, 'jobs'), {
      code: 'failed-precondition',
      message: new RegExp(`key jobs is a ${type}`),
    });
  });
}

test('a stream without a group is as long as it is', async (t) => {
  t.is(await backlogOf(server({ TYPE: 'stream', XLEN: 9 }).call, 's', ''), 9);
});

test('a stream that is missing has no backlog; a key of another type is an error', async (t) => {
  t.is(await backlogOf(server({ TYPE: 'none' }).call, 's', 'g'), 0);
  await t.throwsAsync(() => backlogOf(server({ TYPE: 'list' }).call, 's', 'g'), {
    message: /key s is a list, and no stream/,
  });
});

const group = (name: string, fields: Readonly<Record<string, unknown>>) => [
  ...['name', name, 'consumers', 1],
  ...Object.entries(fields).flat(),
];

test('the backlog of a group is its lag and what it did not acknowledge', async (t) => {
  const { call } = server({
    TYPE: 'stream',
    XINFO: [
      group('other', { pending: 100, 'last-delivered-id': '1-0', 'entries-read': 1, lag: 100 }),
      group('g', { pending: 3, 'last-delivered-id': '5-0', 'entries-read': 5, lag: 4 }),
    ],
  });
  t.is(await backlogOf(call, 's', 'g'), 7);
});

test('while the group does not exist, the whole stream waits for it', async (t) => {
  t.is(await backlogOf(server({ TYPE: 'stream', XINFO: [], XLEN: 8 }).call, 's', 'g'), 8);
});

for (const [title, fields] of [
  ['of a version before 7.0', { pending: 2, 'last-delivered-id': '5-1' }],
  ['that does not know it', { pending: 2, 'last-delivered-id': '5-1', lag: null }],
] as const) {
  test(`the lag of a server ${title} is counted, from the entry after the last delivered`, async (t) => {
    const { call, asked } = server({
      TYPE: 'stream',
      XINFO: [group('g', fields)],
      XRANGE: [1, 2, 3],
    });
    t.is(await backlogOf(call, 's', 'g'), 5);
    t.is(asked.at(-1), `XRANGE s 5-2 + COUNT ${COUNT_AT_MOST}`);
  });
}

test('the entry after the last sequence of a millisecond is the first of the next', async (t) => {
  const { call, asked } = server({
    TYPE: 'stream',
    XINFO: [group('g', { pending: 0, 'last-delivered-id': '5-18446744073709551615' })],
    XRANGE: [],
  });
  t.is(await backlogOf(call, 's', 'g'), 0);
  t.regex(asked.at(-1) ?? '', /^XRANGE s 6-0 /);
});

for (const [title, replies] of [
  ['groups that are no array', { TYPE: 'stream', XINFO: 'x' }],
  ['a group without pending entries', { TYPE: 'stream', XINFO: [group('g', {})] }],
  ['a length that is no number', { TYPE: 'list', LLEN: 'many', XINFO: 1 }],
] as const) {
  test(`an answer with ${title} is an error, and not 0`, async (t) => {
    const { call } = server(replies);
    const ask = replies.TYPE === 'list' ? elementsOf(call, 's') : backlogOf(call, 's', 'g');
    await t.throwsAsync(ask, { message: /is not one of Redis/ });
  });
}

test('a node of a cluster says where a key is; other errors say nothing of it', (t) => {
  t.deepEqual(movedTo('MOVED 3999 127.0.0.1:6381'), { host: '127.0.0.1', port: 6381 });
  t.deepEqual(movedTo('MOVED 3999 ::1:6381'), { host: '::1', port: 6381 });
  t.deepEqual(movedTo('MOVED 3999 :6381'), { host: '', port: 6381 }, 'it does not know its own');
  t.is(movedTo('ASK 3999 127.0.0.1:6381'), undefined);
  t.is(movedTo('CLUSTERDOWN Hash slot not served'), undefined);
});

test('a Sentinel that knows no such master, or is none, is an error', async (t) => {
  const { call } = server({ SENTINEL: ['10.0.0.1', '6379'] });
  t.deepEqual(await masterOf(call, 'db'), { host: '10.0.0.1', port: 6379 });
  await t.throwsAsync(masterOf(server({ SENTINEL: null }).call, 'db'), { message: /no master db/ });
  await t.throwsAsync(masterOf(server({ SENTINEL: 'OK' }).call, 'db'), { message: /not one of/ });
});
