import { byteText } from '../shared/model/byte-text.ts';
import { table } from './table.ts';
import type { AutoscalingJson, ReadingJson, RecordJson } from './types.ts';

/** What is in force, for units: a target in percent has values in percent. */
type Effective = Readonly<Record<string, string>>;

/** `service autoscale NAME`: what was declared, what holds besides, and where the service stands. */
export function autoscaleText(state: AutoscalingJson): string {
  const { Settings: settings, Effective: effective } = state;
  if (settings === undefined || effective === undefined) {
    return `${state.ServiceName} is not scaled by its load: ${countOf(state)}.\nTo change that: labels autoscale.* of the service (deploy.labels in a compose file), or\nshoal service autoscale ${state.ServiceName} --max 10 --cpu 70%\n`;
  }
  const declared = new Set(Object.keys(settings));
  const rows = Object.entries(effective).map(([key, value]) => [
    key,
    value,
    declared.has(key) || declared.has(key.split('.')[0] ?? '') ? '' : 'default',
  ]);
  return `${headline(state)}\n${nowLine(state)}\n\n${table(['SETTING', 'VALUE', ''], rows)}`;
}

/** `service explain NAME`: why the count is what it is, and how it came to be. */
export function explainText(state: AutoscalingJson): string {
  const { Effective: effective, Last: last } = state;
  if (effective === undefined) {
    const before = state.Records.length === 0 ? '' : `\nIt was:\n${historyText(state.Records)}`;
    return `${autoscaleText(state)}${before}`;
  }
  const parts = [headline(state), nowLine(state)];
  if (last !== undefined) {
    const { headings, rows } = readingRows(last.Metrics, effective);
    if (rows.length > 0) parts.push('', table(headings, rows).trimEnd());
    parts.push(
      '',
      `Asked for ${last.Proposed}, ${last.Stabilized} after stabilization, ${last.Limited} after rates and limits${last.Held ? ': held, nothing is written' : ''}.`,
    );
  }
  parts.push(`Up: ${rulesText(effective, 'up')}. Down: ${rulesText(effective, 'down')}.`, '');
  parts.push(state.Records.length === 0 ? 'Nothing is recorded yet.' : historyText(state.Records));
  return `${parts.join('\n').trimEnd()}\n`;
}

/** `service autoscale NAME --replay`: each record beside what would be decided now. */
export function replayText({ ServiceName: name, Records: records }: AutoscalingJson): string {
  const rows = records.map((record) => [
    dayAndTimeOf(record.At),
    `${record.From} -> ${record.To}`,
    record.Reason,
    outcome(record),
  ]);
  const same = records.filter(({ Replay }) => Replay?.Again && Replay.Differs.length === 0).length;
  const without = records.filter(({ Replay }) => Replay?.Again === undefined).length;
  const other = records.length - same - without;
  const sum = `${name}: ${records.length} decisions, ${same} the same again, ${other} not, ${without} whose input is not kept.`;
  return records.length === 0
    ? `${name}: nothing is recorded yet.\n`
    : `${table(['TIME', 'COUNT', 'REASON', 'AGAIN'], rows)}\n${sum}\n`;
}

function outcome({ Replay: replay }: RecordJson): string {
  if (replay?.Again === undefined) return 'input not kept';
  if (replay.Differs.length === 0) return 'same';
  const { To, Reason } = replay.Again;
  return `differs in ${replay.Differs.join(', ')}: ${To}, ${Reason}`;
}

/** `top`: each scaled service with its load against its target. */
export function topText(states: readonly AutoscalingJson[]): string {
  if (states.length === 0) {
    return 'No service is scaled by its load.\nTo change that: labels autoscale.* of a service (deploy.labels in a compose file), or\nshoal service autoscale NAME --max 10 --cpu 70%\n';
  }
  const rows = [...states]
    .sort((a, b) => a.ServiceName.localeCompare(b.ServiceName))
    .map((state) => {
      const effective = state.Effective ?? {};
      const reading = hottest(state.Last?.Metrics ?? []);
      return [
        state.ServiceName,
        `${state.ReadyTasks}/${state.Replicas}`,
        `${effective.min ?? '?'}-${effective.max ?? '?'}`,
        reading === undefined ? '-' : loadText(reading, sharedBy(reading, state), effective),
        reading?.Value === undefined
          ? ''
          : bar(reading.Value / (reading.Target * sharedBy(reading, state))),
        `${state.Last?.Reason ?? 'no decision yet'}${remark(state)}`,
      ];
    });
  return table(['SERVICE', 'READY', 'RANGE', 'LOAD', 'OF TARGET', 'REASON'], rows);
}

/** What the reason of a decision does not say: that nothing comes of it. */
function remark({
  SetByHand: isByHand,
  Effective: effective,
  Last: last,
}: AutoscalingJson): string {
  if (isByHand) return ' (set by hand)';
  const isTold = effective?.mode === 'recommend' && last !== undefined && last.To !== last.From;
  return isTold ? ` (recommends ${last.To})` : '';
}

// ---- parts ----------------------------------------------------------------------------------

function headline(state: AutoscalingJson): string {
  const { min = '?', max = '?', mode = 'active' } = state.Effective ?? {};
  const byHand = state.SetByHand ? ', set by hand' : '';
  const only = mode === 'recommend' ? ', only recommended' : '';
  return `${state.ServiceName}: ${countOf(state)} (${state.ReadyTasks} ready), between ${min} and ${max}${only}${byHand}`;
}

function countOf({ Replicas: count }: AutoscalingJson): string {
  return count === 1 ? '1 replica' : `${count} replicas`;
}

function nowLine({ Last: last }: AutoscalingJson): string {
  if (last === undefined) return 'Now: no decision yet.';
  const change = last.From === last.To ? '' : ` (${last.From} -> ${last.To})`;
  return `Now (${timeOf(last.At)}): ${last.Reason}${change}: ${last.Message}`;
}

function readingRows(readings: readonly ReadingJson[], effective: Effective) {
  return {
    headings: [
      'METRIC',
      'VALUE',
      'TARGET',
      'RATIO',
      'TASKS',
      'MISSING',
      'NOT READY',
      'ASKS FOR',
      '',
    ],
    rows: readings.map((reading) => [
      reading.Name,
      quantity(reading.Value, reading.Name, effective),
      quantity(reading.Target, reading.Name, effective),
      reading.Ratio === undefined ? '-' : reading.Ratio.toFixed(2),
      String(reading.Counted),
      String(reading.Missing),
      String(reading.NotReady),
      reading.Proposal === undefined ? '-' : String(reading.Proposal),
      reading.Error ?? '',
    ]),
  };
}

function historyText(records: readonly RecordJson[]): string {
  const rows = records.map((record) => [
    dayAndTimeOf(record.At),
    record.From === record.To ? String(record.To) : `${record.From} -> ${record.To}`,
    `${record.Reason}${record.Held ? ' (held)' : ''}`,
    record.Message,
  ]);
  return table(['TIME', 'COUNT', 'REASON', 'WHY'], rows);
}

function rulesText(effective: Effective, way: 'up' | 'down'): string {
  if (effective[`${way}.select`] === 'disabled') return 'never';
  const policies = (effective[`${way}.policies`] ?? '').replaceAll(',', ' or ');
  return `at most ${policies}, stabilized over ${effective[`${way}.stabilize`] ?? '0s'}`;
}

/** The metric that asks for the most, as it decides. */
function hottest(readings: readonly ReadingJson[]): ReadingJson | undefined {
  return [...readings].sort((a, b) => (b.Ratio ?? -1) - (a.Ratio ?? -1))[0];
}

/** Among how many replicas the value is shared out: what is not measured of each task is one for all of them. */
function sharedBy({ Counted: counted }: ReadingJson, { Last: last }: AutoscalingJson): number {
  return counted > 0 ? 1 : Math.max(1, last?.From ?? 1);
}

const LOAD_CELLS = 40;

function loadText(reading: ReadingJson, shares: number, effective: Effective): string {
  if (reading.Value === undefined) {
    const text = `${reading.Name}: ${reading.Error ?? 'no samples'}`;
    return text.length <= LOAD_CELLS ? text : `${text.slice(0, LOAD_CELLS - 1)}…`;
  }
  const [value, target] = [reading.Value, reading.Target * shares].map((one) =>
    quantity(one, reading.Name, effective),
  );
  return `${reading.Name} ${value} of ${target}`;
}

const BAR_CELLS = 10;

/** Ten cells are the target; what is above it shows as a number only. */
function bar(ratio: number): string {
  const full = Math.min(BAR_CELLS, Math.round(ratio * BAR_CELLS));
  return `${'#'.repeat(full)}${'.'.repeat(BAR_CELLS - full)} ${Math.round(ratio * 100)}%`;
}

/** In the unit that the metric is declared in. */
export function quantity(value: number | undefined, name: string, effective: Effective): string {
  if (value === undefined) return '-';
  if (effective[name]?.endsWith('%')) return `${round(value * 100)}%`;
  switch (name) {
    case 'memory':
      return byteText(value);
    case 'network':
      return `${byteText(value)}/s`;
    case 'requests':
    case 'connections':
      return `${round(value)}/s`;
    case 'cpu':
      return `${Math.round(value * 1000) / 1000} cores`;
    default:
      return String(round(value));
  }
}

const round = (value: number) => Math.round(value * 10) / 10;

/** The time of day in UTC, as messages of the managers have it. */
function timeOf(at: string): string {
  return at.slice(11, 19);
}

/** Logs go back for days, and for longer where scaling was switched off. */
function dayAndTimeOf(at: string): string {
  return `${at.slice(0, 10)} ${timeOf(at)}`;
}
