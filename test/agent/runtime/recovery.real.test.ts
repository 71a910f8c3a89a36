// What is known of containers after this process, containerd or a shim died.
import { setTimeout as delay } from 'node:timers/promises';
import anyTest, { type TestFn } from 'ava';
import type { RuntimeOptions } from '../../../agent/runtime/runtime.ts';
import { shimGroups } from '../../../agent/runtime/shim-group.ts';
import { EXEC } from '../../support/container-config.ts';
import { soon, TestHost } from '../../support/container-host.ts';

const test = anyTest as TestFn;
let host: TestHost;
test.before(async () => {
  host = await TestHost.start();
});
test.after.always('nothing is left', async (t) => {
  if (host !== undefined) t.deepEqual(await host.daemon.stop(), []);
});

const state = async (id: string) => (await host.runtime.get(id))?.state;

test.serial('a new process finds running, ended and never started containers', async (t) => {
  const created = await host.create('true');
  const ended = await host.run('echo early; exit 4');
  await host.runtime.wait(ended, soon());
  const failed = await host.create('', { cmd: ['/nope'] });
  await t.throwsAsync(host.runtime.start(failed, soon()));
  const running = await host.run('while :; do echo tick; sleep 0.1; done', { labels: { a: 'b' } });
  const ending = await host.run('sleep 0.5; exit 6');
  const before = await Promise.all([created, ended, failed, running].map(state));
  const linesBefore = (await host.output(running, { follow: false })).length;
  await host.runtime.close();
  await delay(1_000);

  host.runtime = await host.daemon.runtime();
  t.deepEqual(await Promise.all([created, ended, failed, running].map(state)), before);
  t.is((await host.runtime.wait(ending, soon())).exitCode, 6);
  t.like(await state(ending), { status: 'exited', exitCode: 6 });
  t.is((await host.runtime.get(running))?.config.labels.a, 'b');
  t.deepEqual(await host.output(ended), ['1early']);
  const lines = await host.output(running, { follow: false });
  t.true(lines.length > linesBefore, 'lines were written while nobody looked');
  t.is((await host.exec(running, 'echo $$; exit 3')).code, 3);
  t.true(((await host.runtime.stats(running))?.pids ?? 0) >= 1);

  // The end of what was adopted is seen as well.
  const end = host.runtime.wait(running, soon());
  await host.runtime.kill(running, 9);
  t.is((await end).exitCode, 137);
  await host.runtime.start(ended, soon());
  t.is((await host.runtime.wait(ended, soon())).exitCode, 4);
  t.deepEqual(await host.output(ended), ['1early', '1early']);
  for (const id of [created, ended, failed, running, ending]) {
    await host.runtime.remove(id, { force: true });
  }
});

test.serial(
  'containers outlive containerd; what ended meanwhile is told with its code',
  async (t) => {
    const stop = new AbortController();
    const kinds: string[] = [];
    const listening = (async () => {
      for await (const event of host.runtime.events(stop.signal)) kinds.push(event.kind);
    })();
    const running = await host.run('n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done');
    const ending = await host.run('sleep 0.6; exit 5');
    const waiting = host.runtime.wait(ending, soon());
    const exec = await host.runtime.exec(
      running,
      { ...EXEC, cmd: ['/bin/sh', '-c', 'sleep 1.5; echo still; exit 8'] },
      soon(),
    );
    const { pid } = (await state(running)) ?? {};
    await host.daemon.killDaemon();
    const error = await t.throwsAsync(host.run('true'));
    t.is((error as { code?: string })?.code, 'unavailable');
    await delay(1_000);
    await host.daemon.startDaemon();

    t.is((await waiting).exitCode, 5);
    while (!kinds.includes('resync')) await delay(20);
    t.like(await state(running), { status: 'running', pid: pid ?? 0 });
    let text = '';
    for await (const { data } of exec.output()) text += Buffer.from(data);
    t.is(text, 'still\n');
    t.is(await exec.wait(), 8);
    const lines = (await host.output(running, { follow: false })).map((line) => line.slice(1));
    t.deepEqual(
      lines,
      lines.map((_, n) => String(n)),
      'no line is missing',
    );
    t.is(await host.outputOf('echo new').then((out) => out.join()), '1new');
    stop.abort();
    await listening;
    for (const id of [running, ending]) await host.runtime.remove(id, { force: true });
  },
);

test.serial('a container whose shim was killed has ended with 137', async (t) => {
  const id = await host.run('exec sleep 600');
  const shim = host.daemon.processes().find((line) => line.includes(`-id ${id}`));
  const end = host.runtime.wait(id, soon());
  process.kill(Number(shim?.split(' ')[0]), 'SIGKILL');
  t.is((await end).exitCode, 137);
  t.like(await state(id), { status: 'exited', exitCode: 137 });
  await host.runtime.remove(id, { force: false });
});

test.serial('so has one whose shim and containerd died together', async (t) => {
  const id = await host.run('exec sleep 600');
  const { pid = 0 } = (await state(id)) ?? {};
  await host.daemon.killDaemon();
  for (const line of host.daemon.processes()) {
    if (line.includes(id)) process.kill(Number(line.split(' ')[0]), 'SIGKILL');
  }
  process.kill(pid, 'SIGKILL');
  await host.runtime.close();
  await host.daemon.startDaemon();
  host.runtime = await host.daemon.runtime();
  t.like(await state(id), { status: 'exited', exitCode: 137 });
  await host.runtime.remove(id, { force: false });
});

const interruptedStarts = test.macro(async (t, options: Partial<RuntimeOptions>) => {
  const host = await TestHost.start(options);
  let left: string[] = ['not stopped'];
  try {
    for (const afterMs of [5, 20, 40, 60, 90]) {
      const id = await host.create('exec sleep 600');
      const start = host.runtime.start(id, soon()).catch((error) => error.code);
      await delay(afterMs);
      await host.daemon.killDaemon();
      await start;
      await host.daemon.startDaemon();
      for (;;) {
        try {
          await host.runtime.remove(id, { force: true });
          break;
        } catch (error) {
          t.is((error as { code?: string }).code, 'unavailable');
          await delay(50);
        }
      }
      // Also when it is wanted again instead of removed.
      const other = await host.create('exec sleep 600');
      const broken = host.runtime.start(other, soon()).catch((error) => error.code);
      await delay(afterMs);
      await host.daemon.killDaemon();
      await broken;
      await host.daemon.startDaemon();
      const started = () =>
        host.runtime.start(other, soon()).then(
          () => true,
          () => false,
        );
      for (let turn = 0; !(await started()); turn += 1) {
        if (turn === 100) throw new Error(`${other} cannot be started any more`);
        await delay(100);
      }
      t.is((await host.exec(other, 'true')).code, 0);
      await host.runtime.remove(other, { force: true });
    }
    for (let turn = 0; host.daemon.processes().length > 0 && turn < 200; turn += 1) await delay(50);
  } finally {
    left = await host.daemon.stop();
  }
  t.deepEqual(left, []);
});

test.serial(
  'what was being started when containerd died is no burden to the next',
  interruptedStarts,
  {},
);
test.serial('nor is it where containers share their shims', interruptedStarts, {
  shimGroup: shimGroups(() => 'service', 'nonce'),
});

test.serial(
  'a container that was removed behind our back is gone after the next listing',
  async (t) => {
    const id = await host.create('true');
    const gone = host.runtime.wait(id, soon());
    gone.catch(() => undefined);
    const other = await host.daemon.runtime();
    await other.remove(id, { force: true });
    await host.daemon.killDaemon();
    await host.daemon.startDaemon();
    await t.throwsAsync(gone, { message: /No such container/ });
    t.is(await state(id), undefined);
  },
);
