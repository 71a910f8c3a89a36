import { type AutoscaleFlags, settingsChange } from './autoscale-flags.ts';
import { autoscaleText, explainText, replayText, topText } from './autoscale-text.ts';
import type { Engine } from './io/engine.ts';
import { drawLive } from './io/live.ts';
import { yamlFile, yamlText } from './io/yaml-file.ts';
import type { AutoscalingJson } from './types.ts';
import { labelsOfCompose, settingsOfTree } from './x-autoscale.ts';

/** What a command prints: the object for programs, the text for people. */
export type Output = Readonly<{ json: unknown; text: string }>;

type Options = AutoscaleFlags & Readonly<{ file?: string; replay?: boolean }>;

const pathOf = (name: string) => `/services/${encodeURIComponent(name)}/autoscale`;

/** `service autoscale NAME`: changes what flags say, and shows what holds then. */
export async function serviceAutoscale(
  engine: Engine,
  name: string,
  { file, replay, ...flags }: Options,
  warn: (text: string) => void,
): Promise<Output> {
  const byFlags = settingsChange(flags);
  if (file !== undefined && byFlags !== undefined) {
    throw new Error('--file says everything: give it alone');
  }
  const change = file === undefined ? byFlags : { Set: await treeIn(file), Unset: ['*'] };
  if (change !== undefined) {
    const { Warnings } = await engine.post<{ Warnings: string[] | null }>(pathOf(name), change);
    for (const warning of Warnings ?? []) warn(warning);
  }
  const state = await engine.get<AutoscalingJson>(`${pathOf(name)}${replay ? '?replay=1' : ''}`);
  return { json: state, text: replay ? replayText(state) : autoscaleText(state) };
}

async function treeIn(file: string): Promise<Record<string, string>> {
  const tree = await yamlFile(file);
  const isWrapped = typeof tree === 'object' && tree !== null && 'x-autoscale' in tree;
  return settingsOfTree(isWrapped ? tree['x-autoscale'] : tree);
}

/** `service explain NAME`. */
export async function serviceExplain(engine: Engine, name: string): Promise<Output> {
  const state = await engine.get<AutoscalingJson>(pathOf(name));
  return { json: state, text: explainText(state) };
}

/** `top`: once, or again each second where a person looks. */
export async function top(engine: Engine, isLive: boolean): Promise<Output | undefined> {
  const read = () => engine.get<AutoscalingJson[]>('/autoscale');
  if (!isLive) {
    const states = await read();
    return { json: states, text: topText(states) };
  }
  await drawLive(
    async () => `${new Date().toISOString().slice(11, 19)}\n\n${topText(await read())}`,
  );
  return undefined;
}

/** `compose autoscale FILE`: a second compose file with the labels that its x-autoscale keys mean. */
export async function composeAutoscale(file: string): Promise<Output> {
  const labels = labelsOfCompose(await yamlFile(file));
  if (Object.keys(labels).length === 0) throw new Error(`${file}: no service has x-autoscale`);
  const services = Object.fromEntries(
    Object.entries(labels).map(([name, said]) => [name, { deploy: { labels: said } }]),
  );
  return { json: { services }, text: await yamlText({ services }) };
}
