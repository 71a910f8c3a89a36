import test from 'ava';
import fc from 'fast-check';
import { FrameReader, frame } from '../../shared/stream-frames.ts';

test('a frame is the stream, three zeros, the length and the bytes', (t) => {
  t.deepEqual([...frame(2, new Uint8Array([7, 8]))], [2, 0, 0, 0, 0, 0, 0, 2, 7, 8]);
});

test('what frame() writes FrameReader finds again, however the bytes are cut', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(1 as const, 2 as const), fc.uint8Array())),
      fc.integer({ min: 1, max: 9 }),
      (sent, step) => {
        const wire = Buffer.concat(sent.map(([stream, data]) => frame(stream, data)));
        const reader = new FrameReader();
        const got: [number, number[]][] = [];
        for (let at = 0; at < wire.length; at += step) {
          for (const { stream, data } of reader.push(wire.subarray(at, at + step))) {
            got.push([stream, [...data]]);
          }
        }
        t.deepEqual(
          got,
          sent.map(([stream, data]): [number, number[]] => [stream, [...data]]),
        );
      },
    ),
  );
});
