import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { BackupFileError, encodePreamble, MAGIC } from '../../cli/backup-format.ts';
import { openBackup, writeBackup } from '../../cli/io/backup-file.ts';
import { BackupMessage } from '../../shared/gen/shoal/v1/control.ts';

const NO_PROGRESS = () => undefined;
const header = BackupMessage.encode({
  message: {
    $case: 'header',
    value: {
      format: 1,
      clusterId: 'c1',
      index: 42,
      objects: 7,
      createdAtMs: Date.UTC(2026, 0, 2),
      rootCertificatePem: 'root',
      rootKeyPem: 'TOP SECRET KEY',
      dataPathPort: 4789,
    },
  },
}).finish();
const MESSAGES = [header, Buffer.alloc(300_000, 'chunk one '), Buffer.from('chunk two')];

async function* all(messages: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* messages;
}

async function folder(t: { teardown(fn: () => Promise<void>): void }): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-backup-'));
  t.teardown(() => rm(path, { recursive: true }));
  return path;
}

async function read(path: string, passphrase: string): Promise<Buffer[]> {
  const backup = await openBackup(path);
  const messages: Buffer[] = [];
  try {
    for await (const message of backup.messages(passphrase, NO_PROGRESS)) {
      messages.push(Buffer.from(message));
    }
  } finally {
    await backup.close();
  }
  return messages;
}

test('what is written is read again, by the passphrase only', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'backup');
  const written = await writeBackup(path, 'pass', all(MESSAGES), NO_PROGRESS);
  t.like(written, {
    clusterId: 'c1',
    index: 42,
    objects: 7,
    createdAt: '2026-01-02T00:00:00.000Z',
  });
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.deepEqual(await readdir(dir), ['backup'], 'nothing is left beside it');
  t.deepEqual(await read(path, 'pass'), MESSAGES.map(Buffer.from));
  await t.throwsAsync(read(path, 'other'), {
    instanceOf: BackupFileError,
    message: /passphrase is wrong/,
  });
  const bytes = await readFile(path);
  t.false(bytes.includes('TOP SECRET KEY'));
  t.false(bytes.includes('chunk one'));
});

test('a backup never takes the place of a file, and a failed one leaves nothing', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'backup');
  await writeFile(path, 'precious');
  await t.throwsAsync(writeBackup(path, 'pass', all(MESSAGES), NO_PROGRESS), { message: /exists/ });
  t.is(await readFile(path, 'utf8'), 'precious');
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield header;
    throw new Error('the daemon went away');
  }
  await t.throwsAsync(writeBackup(join(dir, 'second'), 'pass', broken(), NO_PROGRESS), {
    message: /went away/,
  });
  await t.throwsAsync(writeBackup(join(dir, 'third'), 'pass', all([]), NO_PROGRESS), {
    message: /no backup/,
  });
  t.deepEqual(await readdir(dir), ['backup']);
});

test('a bit that flipped anywhere is found, and so is a missing end', async (t) => {
  const path = join(await folder(t), 'backup');
  await writeBackup(path, 'pass', all([header, Buffer.from('small')]), NO_PROGRESS);
  const good = await readFile(path);
  for (let at = 0; at < good.length; at += 7) {
    const bad = Buffer.from(good);
    bad.writeUInt8(good.readUInt8(at) ^ 0x10, at);
    await writeFile(path, bad);
    await t.throwsAsync(openBackup(path), { instanceOf: BackupFileError }, `byte ${at}`);
  }
  for (const length of [0, 5, 14, 40, good.length - 33, good.length - 1]) {
    await writeFile(path, good.subarray(0, length));
    await t.throwsAsync(openBackup(path), { instanceOf: BackupFileError }, `${length} bytes`);
  }
});

test('a file of a later version, or of something else, is refused in words', async (t) => {
  const path = join(await folder(t), 'backup');
  await writeFile(path, `${MAGIC}\0\u0002\0\0\0\0`);
  await t.throwsAsync(openBackup(path), { message: /format version 2.*version that made it/ });
  await writeFile(path, 'PK\u0003\u0004 some archive of another kind');
  await t.throwsAsync(openBackup(path), { message: /not a backup made by/ });
  const absurd = { name: 'scrypt', N: 1 << 30, r: 8, p: 1, salt: '' } as const;
  await writeFile(
    path,
    encodePreamble({ clusterId: 'c', createdAt: '', index: 1, objects: 1, kdf: absurd }),
  );
  await t.throwsAsync(openBackup(path), { message: /absurd/ });
});
