import test from 'ava';
import fc from 'fast-check';
import { backupFrame, backupFrames } from '../../shared/backup.ts';
import { isShoalError } from '../../shared/errors.ts';

async function collect(chunks: readonly Uint8Array[]): Promise<number[][]> {
  async function* all(): AsyncGenerator<Uint8Array> {
    yield* chunks;
  }
  const frames: number[][] = [];
  for await (const frame of backupFrames(all())) frames.push([...frame]);
  return frames;
}

test('frames come out as they went in, however the stream is cut', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 30 })),
      async (messages, cuts) => {
        const bytes = Buffer.concat(messages.map(backupFrame));
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const length = cuts[i] ?? bytes.length;
          chunks.push(bytes.subarray(at, at + length));
          at += length;
        }
        t.deepEqual(
          await collect(chunks),
          messages.map((message) => [...message]),
        );
      },
    ),
    { numRuns: 200 },
  );
});

test('a stream that ends within a frame, or has an absurd one, is no backup', async (t) => {
  const frame = backupFrame(Uint8Array.of(1, 2, 3));
  for (const chunks of [
    [frame.subarray(0, 2)],
    [frame.subarray(0, 5)],
    [Uint8Array.of(255, 0, 0, 0)],
  ]) {
    const error = await t.throwsAsync(collect(chunks));
    t.true(isShoalError(error, 'invalid-argument'));
  }
});
