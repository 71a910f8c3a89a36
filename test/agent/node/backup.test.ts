import test from 'ava';
import { readBackup } from '../../../agent/node/backup.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { type BackupHeader, BackupMessage } from '../../../shared/gen/shoal/v1/control.ts';

const HEADER: BackupHeader = {
  format: 1,
  clusterId: 'c',
  index: 9,
  objects: 1,
  createdAtMs: 0,
  rootCertificatePem: 'root',
  rootKeyPem: 'key',
  dataPathPort: 0,
};
const header = (more: Partial<BackupHeader> = {}) =>
  BackupMessage.encode({ message: { $case: 'header', value: { ...HEADER, ...more } } }).finish();
const chunk = BackupMessage.encode({
  message: { $case: 'chunk', value: Buffer.from('state') },
}).finish();
async function* all(...messages: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* messages;
}

test('readBackup() gives header and chunks', async (t) => {
  const backup = await readBackup(all(header(), chunk, chunk));
  t.deepEqual(backup.header, HEADER);
  t.deepEqual(
    backup.chunks.map((one) => Buffer.from(one).toString()),
    ['state', 'state'],
  );
});

const BAD: readonly [string, Uint8Array[]][] = [
  ['nothing at all', []],
  ['no header', [chunk]],
  ['a header alone', [header()]],
  ['two headers', [header(), header()]],
  ['a header without the key', [header({ rootKeyPem: '' }), chunk]],
  ['bytes that are no message', [Uint8Array.of(10, 200, 1)]],
];
for (const [title, messages] of BAD) {
  test(`readBackup() refuses ${title}`, async (t) => {
    const error = await t.throwsAsync(readBackup(all(...messages)));
    t.true(isShoalError(error, 'invalid-argument'));
  });
}

test('readBackup() names the format of a later version', async (t) => {
  const error = await t.throwsAsync(readBackup(all(header({ format: 2 }), chunk)));
  t.true(isShoalError(error, 'unimplemented'));
  t.regex(error?.message ?? '', /format 2/);
});
