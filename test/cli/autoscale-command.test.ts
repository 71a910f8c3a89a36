// The commands against the API on its real socket, with the real control plane behind it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { composeAutoscale, serviceAutoscale, serviceExplain, top } from '../../cli/autoscale.ts';
import { Engine } from '../../cli/io/engine.ts';
import { ListRequest } from '../../shared/gen/shoal/v1/control.ts';
import { effectiveAutoscale } from '../../shared/model/autoscale-labels.ts';
import { EngineHost } from '../support/engine-host.ts';

const test = anyTest as TestFn<{ host: EngineHost; engine: Engine; folder: string }>;
test.before(async (t) => {
  const host = await EngineHost.start();
  // As the leader's autoscaler answers, as far as it is about what was declared.
  host.autoscaling = async ({ services }) => {
    const { objects } = await host.control.list(
      ListRequest.fromPartial({ kind: 'service', exactNames: services }),
    );
    return {
      services: objects.flatMap(({ kind }) =>
        kind?.$case === 'service' && kind.value.spec !== undefined
          ? [
              {
                serviceId: kind.value.id,
                serviceName: kind.value.spec.name,
                spec: effectiveAutoscale(kind.value.spec),
                replicas: 1,
                readyTasks: 1,
                records: [],
                setByHand: false,
                replayed: [],
              },
            ]
          : [],
      ),
    };
  };
  const folder = await mkdtemp(join(tmpdir(), 'shoal-cli-autoscale-'));
  t.context = { host, engine: new Engine(`unix://${host.socketPath}`), folder };
  await t.context.engine.post('/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'web:1' } },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  });
});
test.after.always(async (t) => {
  await t.context.host.close();
  await rm(t.context.folder, { recursive: true, force: true });
});

test.serial('flags, one after the other, and then all of it from a file', async (t) => {
  const { engine, folder } = t.context;
  const warnings: string[] = [];
  const run = (options: Parameters<typeof serviceAutoscale>[2]) =>
    serviceAutoscale(engine, 'web', options, (text) => warnings.push(text));
  t.regex((await run({})).text, /^web is not scaled by its load/);
  t.regex((await run({ max: '9', cpu: '0.5' })).text, /^cpu +0\.5 cores$/m);
  const { text } = await run({ min: '2', requests: '50/s' });
  t.regex(text, /between 2 and 9/);
  t.regex(text, /^requests +50\/s$/m);
  t.regex(text, /^warmup +\S+ +default$/m);
  await t.throwsAsync(run({ max: '1' }), { message: /Autoscale\.Min 2 is more than the 1 of max/ });
  const file = join(folder, 'x.yaml');
  await writeFile(file, 'x-autoscale:\n  max: 4\n  metrics:\n    - pids: {perReplica: 10}\n');
  await t.throwsAsync(run({ file, max: '3' }), { message: /--file says everything/ });
  const { json } = await run({ file });
  t.deepEqual((json as { Settings: object }).Settings, { max: '4', pids: '10' });
  t.regex(
    (await serviceExplain(engine, 'web')).text,
    /^web: 1 replica \(1 ready\), between 1 and 4/,
  );
  t.regex((await top(engine, false))?.text ?? '', /^web +1\/1 +1-4 /m);
  t.regex((await run({ off: true })).text, /^web is not scaled by its load/);
  t.deepEqual(warnings, [], 'no count was asked for');
});

test.serial('a compose file’s trees become labels, and one that has none is told', async (t) => {
  const file = join(t.context.folder, 'compose.yaml');
  await writeFile(
    file,
    'x-scale: &s {max: 5, cpu: 70%}\nservices:\n  db: {image: db}\n  web: {image: web, deploy: {x-autoscale: {<<: *s, min: 2}}}\n',
  );
  t.deepEqual((await composeAutoscale(file)).json, {
    services: {
      web: {
        deploy: {
          labels: { 'autoscale.max': '5', 'autoscale.cpu': '70%', 'autoscale.min': '2' },
        },
      },
    },
  });
  await writeFile(file, 'services: {db: {image: db}}\n');
  await t.throwsAsync(composeAutoscale(file), { message: /no service has x-autoscale/ });
  await writeFile(file, 'services: [\n');
  await t.throwsAsync(composeAutoscale(file), { message: /compose\.yaml cannot be read/ });
});
