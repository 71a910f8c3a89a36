import test from 'ava';
import fc from 'fast-check';
import { encodeMessage } from '../../../manager/raft/codec.ts';
import {
  decodeHello,
  encodeFrames,
  encodeHello,
  encodeMessageFrame,
  FRAME,
  type Frame,
  FrameReader,
  type Hello,
  isAddress,
  joinFrames,
  parseAddress,
} from '../../../manager/raft/frames.ts';
import type { Message, RaftId } from '../../../manager/raft/types.ts';
import { isShoalError } from '../../../shared/errors.ts';

test('frames come out of a stream as they went in, wherever it is cut', (t) => {
  const frame = fc.record({
    kind: fc.integer({ min: 0, max: 255 }),
    payload: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(frame), fc.array(fc.nat(9)), (frames, cuts) => {
      const bytes = encodeFrames(frames);
      const reader = new FrameReader();
      const got: Frame[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        reader.push(bytes.subarray(at, at + cut), (one) => got.push(one));
        at = Math.min(bytes.length, at + cut);
      }
      t.deepEqual(got, frames);
    }),
  );
});

test('a message encoded in its frame is what it would be put into one, small or large', (t) => {
  for (const size of [0, 10, 5_000, 100_000]) {
    const entry = {
      term: 2,
      index: 8,
      type: 'normal',
      data: new Uint8Array(size).fill(size),
    } as const;
    const message: Message = {
      type: 'append',
      from: 'a' as RaftId,
      to: 'b' as RaftId,
      term: 2,
      prevIndex: 7,
      prevTerm: 1,
      commit: 6,
      entries: [entry],
    };
    const frame = { kind: FRAME.message, payload: encodeMessage(message) };
    const bytes = encodeMessageFrame(message);
    t.deepEqual([...bytes], [...encodeFrames([frame])]);
    t.is(joinFrames([bytes]), bytes);
    t.deepEqual([...joinFrames([bytes, bytes])], [...encodeFrames([frame, frame])]);
  }
});

test('what is delivered does not share memory with the stream', (t) => {
  const bytes = encodeFrames([{ kind: 4, payload: Uint8Array.of(1, 2, 3) }]);
  let payload = new Uint8Array(0);
  new FrameReader().push(bytes, (frame) => {
    payload = frame.payload as Uint8Array<ArrayBuffer>;
  });
  bytes.fill(0);
  t.deepEqual([...payload], [1, 2, 3]);
});

test('a frame above the limit is refused before its memory is taken', (t) => {
  const reader = new FrameReader(10);
  const error = t.throws(() => reader.push(Uint8Array.of(0, 0, 0, 11, 1), () => undefined));
  t.true(isShoalError(error, 'invalid-argument'));
  t.throws(() => new FrameReader().push(Uint8Array.of(0, 0, 0, 0, 1), () => undefined));
});

test('a hello goes there and back, and anything else is refused', (t) => {
  const hello: Hello = { version: 1, clusterId: 'c', from: 'a', to: 'b', channel: 'snapshot' };
  t.deepEqual(decodeHello(encodeHello(hello)), hello);
  for (const text of ['', '{', 'null', '{"version":2}', '{"version":1,"clusterId":"c"}']) {
    t.throws(() => decodeHello(new TextEncoder().encode(text)));
  }
});

test('addresses are host:port, with brackets for IPv6', (t) => {
  t.deepEqual(parseAddress('10.0.0.1:7946'), { host: '10.0.0.1', port: 7946 });
  t.deepEqual(parseAddress('[fd00::1]:80'), { host: 'fd00::1', port: 80 });
  for (const text of ['', 'host', 'host:', ':1', 'fd00::1:80', 'h:70000', 'h:-1']) {
    t.false(isAddress(text), text);
    t.throws(() => parseAddress(text), undefined, text);
  }
});
