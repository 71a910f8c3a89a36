import test from 'ava';
import { byteText } from '../../../shared/model/byte-text.ts';

test('a size is told in the largest unit that it fills', (t) => {
  const sizes = [0, 1023, 1024, 1.55 * 2 ** 20, 3 * 2 ** 30, 2 ** 50];
  t.deepEqual(
    sizes.map((size) => byteText(size)),
    ['0B', '1023B', '1KiB', '1.6MiB', '3GiB', '1024TiB'],
  );
  t.is(byteText(2048, ' '), '2 KiB');
});
