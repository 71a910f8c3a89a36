import { withAutoscaleDefaults } from '../../../shared/model/autoscale.ts';
import { nsToMs } from '../../../shared/model/units.ts';
import type { PlantOptions } from './plant.ts';

/** Load over time, and what is special about the service under it. */
export type Trace = Readonly<{
  name: string;
  durationMs: number;
  /** Requests per second. */
  rate: (atMs: number) => number;
  plant: PlantOptions;
  /** The deciding process is another one each so many milliseconds; 0: never. */
  restartMs: number;
}>;

const ordinary: PlantOptions = { startMs: 2_000, lossRatio: 0 };
const s = (seconds: number) => seconds * 1000;
const between = (at: number, from: number, to: number) => at >= s(from) && at < s(to);

const step = (at: number) => (between(at, 120, 900) ? 300 : 30);
const sine = (at: number) => 200 + 150 * Math.sin((2 * Math.PI * at) / s(600) - Math.PI / 2);

const noSpec = { mode: '', max: 1, metrics: [], schedules: [] };
const windowMs = nsToMs(withAutoscaleDefaults(noSpec).down.stabilizeNs);

export const TRACES: readonly Trace[] = [
  trace('step', 1800, step),
  trace('ramp', 1800, (at) => 30 + 370 * Math.max(0, 1 - Math.abs(at - s(720)) / s(600))),
  trace('spike 10 s', 1200, (at) => (between(at, 300, 310) ? 400 : 100)),
  trace('sine', 2400, sine),
  trace('flash crowd', 1500, (at) => {
    if (at < s(120)) return 30;
    if (at < s(130)) return 30 + (570 * (at - s(120))) / s(10);
    return at < s(190) ? 600 : 30 + 570 * Math.exp(-(at - s(190)) / s(100));
  }),
  trace('on/off in half a window', 1800, (at) => (at % windowMs < windowMs / 2 ? 40 : 240)),
  trace('30 % missing samples', 1800, step, { lossRatio: 0.3 }),
  trace('slow starters', 1800, step, { startMs: 30_000 }),
  { ...trace('leader change a minute', 1800, step), restartMs: 60_000 },
  trace('sawtooth', 1800, (at) => 30 + 270 * ((at % s(300)) / s(300))),
];

function trace(
  name: string,
  seconds: number,
  rate: (atMs: number) => number,
  plant: Partial<PlantOptions> = {},
): Trace {
  return { name, durationMs: s(seconds), rate, plant: { ...ordinary, ...plant }, restartMs: 0 };
}
