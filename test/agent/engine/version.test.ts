import { readFileSync } from 'node:fs';
import test from 'ava';
import { ENGINE_VERSION, SHOAL_VERSION } from '../../../agent/engine/version.ts';
import { describeHost } from '../../../agent/node/io/description.ts';

test("the cluster is told the same engine version as this host's clients", (t) => {
  const description = describeHost({ hostname: 'h1', labels: {}, dataPathAddress: '127.0.0.1' });
  t.is(description.engineVersion, ENGINE_VERSION);
});

test("our own version is the package's", (t) => {
  t.is(SHOAL_VERSION, JSON.parse(readFileSync('package.json', 'utf8')).version);
});
