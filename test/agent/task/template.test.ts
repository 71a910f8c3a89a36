import test from 'ava';
import { expandTemplate, type TemplateContext } from '../../../agent/task/template.ts';
import { isShoalError } from '../../../shared/errors.ts';

const CONTEXT: TemplateContext = {
  service: { id: 'sid', name: 'web', labels: { tier: 'front', 'with.dot': 'yes' } },
  node: { id: 'nid', hostname: 'h1', architecture: 'x86_64', os: 'linux' },
  task: { id: 'tid', name: 'web.3.tid', slot: '3' },
};

const TABLE: readonly [string, string][] = [
  ['plain', 'plain'],
  ['', ''],
  ['{{.Task.Slot}}', '3'],
  ['a-{{ .Task.Slot }}-{{.Node.Hostname}}', 'a-3-h1'],
  ['{{.Service.Name}}/{{.Service.ID}}/{{.Node.ID}}', 'web/sid/nid'],
  ['{{.Task.Name}} {{.Task.ID}}', 'web.3.tid tid'],
  ['{{.Node.Platform.Architecture}}-{{.Node.Platform.OS}}', 'x86_64-linux'],
  ['{{.Service.Labels.tier}}', 'front'],
  ['{{index .Service.Labels "with.dot"}}', 'yes'],
];
for (const [text, expected] of TABLE) {
  test(`expandTemplate() makes "${expected}" of "${text}"`, (t) => {
    t.is(expandTemplate(text, CONTEXT), expected);
  });
}

for (const text of ['{{.Task.Nothing}}', '{{.Service.Labels.none}}', '{{printf "x"}}', '{{}}']) {
  test(`expandTemplate() refuses ${text}`, (t) => {
    const error = t.throws(() => expandTemplate(text, CONTEXT));
    t.true(isShoalError(error, 'invalid-argument'));
  });
}
