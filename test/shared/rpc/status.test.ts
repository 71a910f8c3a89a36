import test from 'ava';
import {
  type ErrorCode,
  isShoalError,
  NotLeaderError,
  ShoalError,
} from '../../../shared/errors.ts';
import { fromStatus, isVerdict, type RpcStatus, toStatus } from '../../../shared/rpc/status.ts';

const received = (status: RpcStatus) => ({
  ...status,
  metadata: (key: string) => status.metadata[key],
});
const CODES: ErrorCode[] = [
  'invalid-argument',
  'not-found',
  'already-exists',
  'failed-precondition',
  'out-of-sequence',
  'permission-denied',
  'unauthenticated',
  'resource-exhausted',
  'unavailable',
  'unknown-outcome',
  'deadline-exceeded',
  'cancelled',
  'unimplemented',
  'internal',
];

test('each error code survives the wire, with and without our metadata', (t) => {
  const seen = new Set<number>();
  for (const code of CODES) {
    const status = toStatus(new ShoalError(code, `why ${code}`));
    seen.add(status.code);
    for (const metadata of [received(status).metadata, () => undefined]) {
      const error = fromStatus({ ...status, metadata });
      t.is(error.code, code);
      t.is(error.message, `why ${code}`);
    }
  }
  t.is(seen.size, CODES.length, 'no two codes share a status');
});

test('the statuses are those that gRPC clients expect', (t) => {
  t.is(toStatus(new ShoalError('out-of-sequence', '')).code, 10);
  t.is(toStatus(new ShoalError('unknown-outcome', '')).code, 2);
  t.is(toStatus(new ShoalError('unavailable', '')).code, 14);
  t.is(toStatus(new TypeError('x')).code, 13);
});

test('NotLeaderError keeps its hint', (t) => {
  for (const leader of ['node1', undefined]) {
    const error = fromStatus(received(toStatus(new NotLeaderError(leader))));
    t.true(error instanceof NotLeaderError);
    t.is(error instanceof NotLeaderError ? error.leader : '?', leader);
    t.true(isShoalError(error, 'unavailable'));
  }
});

test('an unknown code in the metadata falls back to the status, and only ours is a verdict', (t) => {
  const status = {
    code: 5,
    details: 'x',
    metadata: (key: string) => (key === 'shoal-code' ? 'toString' : undefined),
  };
  t.is(fromStatus(status).code, 'not-found');
  t.false(isVerdict({ ...status, metadata: () => undefined }));
  t.true(isVerdict(received(toStatus(new ShoalError('internal', '')))));
});

test('a message longer than headers may be is cut', (t) => {
  t.true(toStatus(new ShoalError('internal', 'x'.repeat(100_000))).details.length < 5_000);
});

test('where nobody answers, the reason is said without what is meant for other developers', (t) => {
  const details =
    'No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:2377. Resolution note: ';
  const error = fromStatus({ code: 14, details, metadata: () => undefined });
  t.true(isShoalError(error, 'unavailable'));
  t.is(error.message, 'No connection established: connect ECONNREFUSED 10.0.0.1:2377');
});
