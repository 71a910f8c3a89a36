import test from 'ava';
import fc from 'fast-check';
import { formatUnlockKey, parseUnlockKey } from '../../../shared/pki/unlock-key.ts';

test('a key comes back from its text, with white space around it', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      const text = formatUnlockKey(key);
      t.regex(text, /^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
      t.deepEqual(parseUnlockKey(` ${text}\n`), key);
    }),
  );
});

test('what is no key is none', (t) => {
  const good = formatUnlockKey(new Uint8Array(32));
  for (const text of [
    '',
    'x',
    good.slice(0, -1),
    `${good}A`,
    good.replace('-1-', '-2-'),
    `${good}=`,
  ]) {
    t.is(parseUnlockKey(text), undefined, text);
  }
});
