import test from 'ava';
import { inForceSince, isTimeZone, parseCron } from '../../../manager/autoscaler/schedule.ts';

const HOUR_NS = 3600 * 1_000_000_000;

/** cron, zone, hours in force, now, since when (empty: not in force). All by the clock of the zone's law. */
const ROWS: readonly [string, string, number, string, string][] = [
  ['0 8 * * *', '', 10, '2026-11-21T08:00:00Z', '2026-11-21T08:00:00Z'],
  ['0 8 * * *', '', 10, '2026-11-21T07:59:59Z', ''],
  ['0 8 * * *', '', 10, '2026-11-21T17:59:59Z', '2026-11-21T08:00:00Z'],
  ['0 8 * * *', '', 10, '2026-11-21T18:00:00Z', ''],
  ['0 22 * * *', '', 10, '2026-11-21T07:59:59Z', '2026-11-20T22:00:00Z'],
  ['0 22 * * *', '', 10, '2026-11-21T08:00:00Z', ''],
  ['*/15 * * * *', '', 0.1, '2026-11-21T08:20:00Z', '2026-11-21T08:15:00Z'],
  ['*/15 * * * *', '', 0.1, '2026-11-21T08:22:00Z', ''],
  ['5-10/5 3 * * *', '', 1, '2026-11-21T03:30:00Z', '2026-11-21T03:10:00Z'],
  ['0 8 * * 1-5', '', 10, '2026-11-21T09:00:00Z', ''],
  ['0 8 * * 6', '', 10, '2026-11-21T09:00:00Z', '2026-11-21T08:00:00Z'],
  ['0 8 * * 7', '', 10, '2026-11-22T09:00:00Z', '2026-11-22T08:00:00Z'],
  ['0 8 * * sun', '', 10, '2026-11-22T09:00:00Z', '2026-11-22T08:00:00Z'],
  ['0 8 * nov *', '', 10, '2026-11-22T09:00:00Z', '2026-11-22T08:00:00Z'],
  ['0 8 * 12 *', '', 10, '2026-11-22T09:00:00Z', ''],
  ['0 0 1 * *', '', 72, '2026-12-03T23:00:00Z', '2026-12-01T00:00:00Z'],
  ['0 0 29 2 *', '', 24, '2026-03-01T00:00:00Z', ''],
  ['0 0 29 2 *', '', 24, '2028-02-29T12:00:00Z', '2028-02-29T00:00:00Z'],
  ['0 0 13 * 5', '', 24, '2026-11-20T12:00:00Z', '2026-11-20T00:00:00Z'], // a Friday
  ['0 0 13 * 5', '', 24, '2026-10-13T12:00:00Z', '2026-10-13T00:00:00Z'], // a 13th
  ['0 0 13 * 5', '', 24, '2026-10-14T12:00:00Z', ''],
  ['0 8 * * *', 'Europe/Paris', 1, '2026-11-21T07:30:00Z', '2026-11-21T07:00:00Z'],
  ['0 8 * * *', 'Europe/Paris', 1, '2026-07-21T06:30:00Z', '2026-07-21T06:00:00Z'],
  ['0 8 * * *', 'America/New_York', 1, '2026-11-21T13:30:00Z', '2026-11-21T13:00:00Z'],
  ['30 9 * * *', 'Asia/Kolkata', 1, '2026-11-21T04:30:00Z', '2026-11-21T04:00:00Z'],
  ['0 0 * * 6', 'Pacific/Auckland', 1, '2026-11-20T11:10:00Z', '2026-11-20T11:00:00Z'],
  // Clocks went forward in Paris on 29 March 2026 at 2:00 and back on 25 October 2026 at 3:00.
  ['30 2 * * *', 'Europe/Paris', 0.5, '2026-03-29T01:40:00Z', '2026-03-29T01:30:00Z'],
  ['30 2 * * *', 'Europe/Paris', 0.5, '2026-10-25T00:40:00Z', '2026-10-25T00:30:00Z'],
  ['30 2 * * *', 'Europe/Paris', 0.5, '2026-10-25T01:40:00Z', ''],
  ['15 2 * * *', 'Europe/Paris', 1, '2026-10-25T01:05:00Z', '2026-10-25T00:15:00Z'],
  ['15 2 * * *', 'Europe/Paris', 1, '2026-10-25T01:15:00Z', ''],
  ['10 3 * * *', 'Europe/Paris', 1, '2026-10-25T02:05:00Z', ''],
  ['10 3 * * *', 'Europe/Paris', 1, '2026-10-25T02:15:00Z', '2026-10-25T02:10:00Z'],
  ['0 1 * * *', 'Europe/Paris', 3, '2026-03-29T02:30:00Z', '2026-03-29T00:00:00Z'],
  ['0 8 * * *', 'Nowhere/Land', 10, '2026-11-21T09:00:00Z', ''],
  ['not a cron', '', 10, '2026-11-21T09:00:00Z', ''],
];

for (const [cron, timezone, hours, now, since] of ROWS) {
  const what = since === '' ? 'is not in force' : `is in force since ${since}`;
  test(`${cron} ${timezone} for ${hours} h at ${now} ${what}`, (t) => {
    const schedule = { cron, timezone, forNs: hours * HOUR_NS, min: 1 };
    const found = inForceSince(schedule, Date.parse(now));
    t.is(found === undefined ? '' : new Date(found).toISOString().replace('.000', ''), since);
  });
}

for (const bad of [
  '',
  '* * * *',
  '* * * * * *',
  '60 * * * *',
  '* 24 * * *',
  '* * 0 * *',
  '* * 32 * *',
  '* * * 13 *',
  '* * * * 8',
  '5-1 * * * *',
  '*/0 * * * *',
  '1-2-3 * * * *',
  'a * * * *',
  '1, * * * *',
  '-1 * * * *',
  '1.5 * * * *',
]) {
  test(`"${bad}" is no cron expression`, (t) => t.is(parseCron(bad), undefined));
}

test('time zones are IANA names, and none is UTC', (t) => {
  t.deepEqual(['', 'UTC', 'Europe/Paris', 'Mars/Olympus'].map(isTimeZone), [
    true,
    true,
    true,
    false,
  ]);
});
