// The page that lists the labels, held against what reads them.

import { readFileSync } from 'node:fs';
import test from 'ava';
import { AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { withAutoscaleDefaults } from '../../../shared/model/autoscale.ts';
import { SCALARS, SOURCES } from '../../../shared/model/autoscale-keys.ts';
import { settingsOf } from '../../../shared/model/autoscale-settings-of.ts';

const page = readFileSync(
  new URL('../../../shared/model/autoscale-labels.md', import.meta.url),
  'utf8',
);

test('the page of labels names every one', (t) => {
  for (const key of SCALARS) {
    const short = key.replace(/^.*\./, '.');
    const isNamed = page.includes(`\`autoscale.${key}\``) || page.includes(`\`${short}\``);
    t.true(isNamed || page.includes(`\`.${key}\``), key);
  }
  for (const [kind, leaves] of Object.entries(SOURCES)) {
    const row = page.split('\n').find((line) => line.startsWith(`| \`autoscale.${kind}\``)) ?? '';
    for (const leaf of Object.keys(leaves)) t.true(row.includes(`\`.${leaf}\``), `${kind} ${leaf}`);
  }
});

test('the page of labels tells the defaults that hold', (t) => {
  const effective = settingsOf(withAutoscaleDefaults(AutoscaleSpec.fromPartial({ max: 1 })));
  const told = new Map(
    [...page.matchAll(/^\| `autoscale\.([a-z.-]+)`[^|]*\|[^|]*\| ?`?([^`|]*?)`? \|$/gm)].map(
      ([, key = '', value = '']) => [key, value],
    ),
  );
  const keys = [
    'min',
    'mode',
    'tolerance',
    'up.stabilize',
    'down.stabilize',
    'up.policies',
    'down.policies',
    'up.select',
    'fast.window',
    'fast.threshold',
    'warmup',
    'cooldown-to-zero',
  ];
  for (const key of keys) t.is(told.get(key), effective[key], key);
  t.true(page.includes(`\`autoscale.cpu=${effective.cpu}\` |`));
});
