import test from 'ava';
import fc from 'fast-check';
import { resolveUser } from '../../../agent/runtime/user.ts';

const FILES = {
  passwd: 'root:x:0:0::/root:/bin/sh\n# comment\nbroken\nweb:x:1000:1001::/:\n500:x:7:8::/:\n',
  group: 'root:x:0:\nwheel:x:10:root,web\nweb:x:1001:\nlog:x:5:web\n',
};
const NONE = { passwd: '', group: '' };

const cases: [string, string[], [number, number, number[]]][] = [
  ['', [], [0, 0, [0, 10]]],
  ['root', [], [0, 0, [0, 10]]],
  ['web', [], [1000, 1001, [1001, 10, 5]]],
  ['1000', [], [1000, 1001, [1001, 10, 5]]],
  ['web:log', [], [1000, 5, [5]]],
  ['web:77', [], [1000, 77, [77]]],
  ['1234', [], [1234, 0, [0]]],
  ['1234:1001', ['wheel', '99'], [1234, 1001, [1001, 10, 99]]],
  ['500', [], [7, 8, [8]]], // a name made of digits wins over the number
];
for (const [user, groups, [uid, gid, additionalGids]] of cases) {
  test(`user "${user}" with groups "${groups}" is ${uid}:${gid}`, (t) => {
    t.deepEqual(resolveUser(user, groups, FILES), { uid, gid, additionalGids });
  });
}

test('an image without the files knows numbers only', (t) => {
  t.deepEqual(resolveUser('', [], NONE), { uid: 0, gid: 0, additionalGids: [0] });
  t.deepEqual(resolveUser('5:6', [], NONE), { uid: 5, gid: 6, additionalGids: [6] });
  t.throws(() => resolveUser('web', [], NONE), { message: /unable to find user web/ });
  t.throws(() => resolveUser('5:staff', [], NONE), { message: /unable to find group staff/ });
});

test('any text of the files gives a user or a clear refusal', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (user, passwd, group) => {
      try {
        const { uid, gid } = resolveUser(user, [], { passwd, group });
        return uid >= 0 && gid >= 0;
      } catch (error) {
        return /no matching entries/.test(String(error));
      }
    }),
  );
  t.pass();
});
