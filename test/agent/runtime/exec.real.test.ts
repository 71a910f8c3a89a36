// Further processes in a running container, on a private containerd.
import { getEventListeners } from 'node:events';
import anyTest, { type TestFn } from 'ava';
import { isShoalError } from '../../../shared/errors.ts';
import { EXEC } from '../../support/container-config.ts';
import { soon, TestHost } from '../../support/container-host.ts';

const test = anyTest as TestFn;
let host: TestHost;
let id: string;
test.before(async () => {
  host = await TestHost.start();
  id = await host.run('exec sleep 600', { env: ['A=container'], workingDir: '/tmp' });
});
test.after.always('nothing is left', async (t) => {
  if (host !== undefined) t.deepEqual(await host.daemon.stop(), []);
});

test.serial('it has its own output, code, user, folder and variables', async (t) => {
  t.deepEqual(await host.exec(id, 'echo out; echo err >&2; exit 5'), {
    code: 5,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  t.is(
    (await host.exec(id, 'pwd; echo $A $B', { env: ['B=exec'] })).stdout,
    '/tmp\ncontainer exec\n',
  );
  const user = await host.exec(id, 'id; pwd', { user: 'web:log', workingDir: '/etc' });
  t.is(user.stdout, 'uid=1000(web) gid=1002(log) groups=1002(log)\n/etc\n');
});

test.serial('users are those of the container as it is now', async (t) => {
  await host.exec(id, 'echo "late:x:77:78::/:" >> /etc/passwd');
  t.is((await host.exec(id, 'id -u', { user: 'late' })).stdout, '77\n');
  const error = await t.throwsAsync(host.exec(id, 'true', { user: 'never' }));
  t.true(isShoalError(error, 'invalid-argument'));
});

test.serial('a link in the container to a file of the host is not followed', async (t) => {
  await host.exec(
    id,
    'mv /etc/passwd /etc/passwd.kept; ln -s /etc/hostname-of-the-host /etc/passwd',
  );
  await t.throwsAsync(host.exec(id, 'true', { user: 'daemon' }), {
    message: /unable to find user/,
  });
  await host.exec(id, 'rm /etc/passwd; mv /etc/passwd.kept /etc/passwd', { user: '0' });
});

test.serial('stdin arrives whole and its end is seen', async (t) => {
  const big = Buffer.alloc(3 << 20, 'x');
  const { stdout, code } = await host.exec(id, 'wc -c; exit 4', {}, big);
  t.is(stdout.trim(), String(big.length));
  t.is(code, 4);
});

test.serial('a lot of output arrives whole, however slowly it is read', async (t) => {
  const process = await host.runtime.exec(
    id,
    { ...EXEC, cmd: ['/bin/sh', '-c', 'head -c 3000000 /dev/zero'] },
    soon(),
  );
  let bytes = 0;
  for await (const { data } of process.output()) {
    bytes += data.length;
    await new Promise((done) => setTimeout(done, 2));
  }
  t.is(bytes, 3_000_000);
  t.is(await process.wait(), 0);
});

test.serial('what cannot be started is refused in the words of Docker', async (t) => {
  const refused = async (cmd: string[], workingDir = '') => {
    const error = await t.throwsAsync(host.runtime.exec(id, { ...EXEC, cmd, workingDir }, soon()));
    t.true(isShoalError(error, 'invalid-argument'), String(error));
    return error?.message ?? '';
  };
  t.is(
    await refused(['nope']),
    'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown',
  );
  t.regex(await refused(['/nope']), /stat \/nope: no such file or directory: unknown$/);
  t.is(await refused([]), 'No exec command specified');
});

test.serial('a terminal is one stream with a size', async (t) => {
  const process = await host.runtime.exec(
    id,
    {
      ...EXEC,
      cmd: ['/bin/sh', '-c', 'read x; stty size; echo got $x'],
      tty: true,
      attachStdin: true,
    },
    soon(),
  );
  await process.resize(80, 24);
  await process.writeStdin(Buffer.from('hello\r'));
  let text = '';
  for await (const { stream, data } of process.output()) {
    t.is(stream, 1);
    text += Buffer.from(data);
  }
  t.regex(text, /24 80\r\ngot hello\r\n$/);
  t.is(await process.wait(), 0);
});

test.serial('it can be killed, and need not have streams', async (t) => {
  const process = await host.runtime.exec(
    id,
    { ...EXEC, cmd: ['/bin/sleep', '60'], attachStdout: false, attachStderr: false },
    soon(),
  );
  t.true(process.pid > 0);
  await process.kill(9);
  t.is(await process.wait(), 137);
  await process.kill(9);
});

test.serial('output that nobody wants does not hold the process up', async (t) => {
  const giveUp = new AbortController();
  const process = await host.runtime.exec(
    id,
    { ...EXEC, cmd: ['/bin/sh', '-c', 'head -c 2000000 /dev/zero; exit 6'] },
    giveUp.signal,
  );
  giveUp.abort();
  t.is(await process.wait(), 6);
  const left = await host.runtime.exec(
    id,
    { ...EXEC, cmd: ['/bin/sh', '-c', 'echo one; head -c 2000000 /dev/zero; exit 7'] },
    soon(),
  );
  for await (const _ of left.output()) break;
  t.is(await left.wait(), 7);
});

test.serial(
  'a child that keeps the streams open does not keep the process from ending',
  async (t) => {
    const { stdout, code } = await host.exec(id, 'sleep 60 & echo done');
    t.is(stdout, 'done\n');
    t.is(code, 0);
  },
);

test.serial('a signal that outlives it keeps nothing of it', async (t) => {
  const { signal } = new AbortController();
  const cmd = ['/bin/sh', '-c', 'echo a; exit 3'];
  const process = await host.runtime.exec(id, { ...EXEC, cmd }, signal);
  t.is(getEventListeners(signal, 'abort').length, 1);
  for await (const { data } of process.output()) t.is(Buffer.from(data).toString(), 'a\n');
  t.is(await process.wait(), 3);
  t.is(getEventListeners(signal, 'abort').length, 0);
});

test.serial('many at once keep their streams apart', async (t) => {
  const all = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      host.exec(id, `echo ${n}; cat; exit ${n}`, {}, Buffer.from(`${n}`)),
    ),
  );
  t.deepEqual(
    all.map(({ stdout, code }) => [stdout, code]),
    Array.from({ length: 20 }, (_, n) => [`${n}\n${n}`, n]),
  );
});
