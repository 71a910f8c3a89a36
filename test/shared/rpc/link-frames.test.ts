import test from 'ava';
import fc from 'fast-check';
import { isShoalError } from '../../../shared/errors.ts';
import {
  decodeCall,
  encodeCall,
  frameParts,
  LINK,
  type LinkKind,
  LinkReader,
} from '../../../shared/rpc/link-frames.ts';

const frame = fc.record({
  kind: fc.constantFrom<LinkKind>(...Object.values(LINK)),
  call: fc.integer({ min: 0, max: 0xffff_ffff }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

test('frames come out as they went in, however the bytes are cut', (t) => {
  fc.assert(
    fc.property(fc.array(frame), fc.array(fc.integer({ min: 1, max: 400 })), (frames, cuts) => {
      const bytes = Buffer.concat(
        frames.flatMap(({ kind, call, payload }) => frameParts(kind, call, payload)),
      );
      const reader = new LinkReader(300);
      const out: unknown[] = [];
      let at = 0;
      for (let i = 0; at < bytes.length; i++) {
        const end = at + (cuts[i % Math.max(1, cuts.length)] ?? bytes.length);
        reader.push(bytes.subarray(at, end), ({ kind, call, payload }) =>
          out.push({ kind, call, payload: new Uint8Array(payload) }),
        );
        at = end;
      }
      t.deepEqual(
        out,
        frames.map(({ kind, call, payload }) => ({ kind, call, payload })),
      );
    }),
  );
});

test('a call carries its path, deadline, metadata and request', (t) => {
  const request = Buffer.from([1, 2, 3]);
  const head = { path: '/a.B/C', deadlineMs: 30_000, metadata: { 'from-ü': 'x' } };
  t.deepEqual(decodeCall(encodeCall(head, request)), { ...head, request });
  const bare = { path: '/a.B/C', deadlineMs: undefined, metadata: undefined };
  t.deepEqual(decodeCall(encodeCall(bare, Buffer.alloc(0))), { ...bare, request: Buffer.alloc(0) });
});

test('what is no frame, or too large for one, is refused', (t) => {
  const refused = (fn: () => void) => {
    const error = t.throws(fn);
    t.true(isShoalError(error, 'invalid-argument'), error?.message);
  };
  const [large = Buffer.alloc(0)] = frameParts(LINK.answer, 1, Buffer.alloc(101));
  refused(() => new LinkReader(100).push(Buffer.from(large), () => undefined));
  refused(() => new LinkReader(100).push(Buffer.alloc(9), () => undefined));
  refused(() => decodeCall(Buffer.alloc(3)));
  refused(() => decodeCall(Buffer.from([0, 0, 0, 0, 9, 0, 0, 65])));
  refused(() => decodeCall(Buffer.from([0, 0, 0, 0, 0, 1, 0, 65])));
});
