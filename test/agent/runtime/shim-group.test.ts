import test from 'ava';
import { shimGroups } from '../../../agent/runtime/shim-group.ts';
import type { ContainerConfig } from '../../../agent/runtime/types.ts';

const of = (service: string) => ({ labels: { service } }) as unknown as ContainerConfig;

test('no shim serves more than eight containers, nor those of two services', (t) => {
  const group = shimGroups((config) => config.labels.service || undefined, 'x');
  const members = new Map<string, string[]>();
  for (let i = 0; i < 100; i++) {
    for (const service of ['a', 'b']) {
      const name = group(of(service)) ?? '';
      members.set(name, [...(members.get(name) ?? []), service]);
    }
  }
  for (const services of members.values()) {
    t.true(services.length <= 8);
    t.is(new Set(services).size, 1);
  }
  t.true(members.size <= 2 * (100 / 8 + 4));
});

test('containers made one after the other go to different shims, and those of nobody to their own', (t) => {
  const group = shimGroups((config) => config.labels.service || undefined, 'x');
  t.is(new Set([1, 2, 3, 4].map(() => group(of('a')))).size, 4);
  t.is(group(of('')), undefined);
});

test('a service that was forgotten, as many came after it, finds none of its shims full', (t) => {
  const group = shimGroups((config) => config.labels.service || undefined, 'x');
  const first = Array.from({ length: 40 }, () => group(of('a')));
  for (let i = 0; i < 2_000; i++) group(of(`other${i}`));
  const later = Array.from({ length: 40 }, () => group(of('a')));
  t.deepEqual(
    later.filter((name) => first.includes(name)),
    [],
  );
});
