import { AUTOSCALE_PREFIX } from '../../../shared/model/autoscale-labels.ts';
import { NS_PER_SECOND } from '../../../shared/model/units.ts';

/** A part of how a service is scaled, as the API's field and as a label say it. */
export type Where = readonly [path: string, key: string];

/** What is wrong with how a service is to be scaled, collected: each problem begins with the field or label. */
export class Judged {
  readonly problems: string[] = [];
  readonly #nameOf: (where: Where) => string;

  /** With the service's labels where they said it. */
  constructor(labels: Readonly<Record<string, string>> | undefined) {
    this.#nameOf = fieldNames(labels);
  }

  wrong(field: Where, message: string): void {
    this.problems.push(`${this.#nameOf(field)} ${message}`);
  }

  above0(field: Where, value: number): void {
    // Written so that NaN is refused as well.
    if (!(value > 0 && Number.isFinite(value))) this.wrong(field, `must be above 0, not ${value}`);
  }

  between(
    field: Where,
    value: number | undefined,
    low: number,
    high: number,
    show: (value: number) => string,
  ): void {
    if (value === undefined || (value >= low && value <= high)) return;
    this.wrong(field, `must be from ${show(low)} to ${show(high)}, not ${show(value)}`);
  }

  word(field: Where, word: string, allowed: readonly string[]): void {
    if (allowed.includes(word)) return;
    const expected = allowed.filter((one) => one !== '').join(', ');
    this.wrong(field, `${JSON.stringify(word)} is unknown: expected one of ${expected}`);
  }
}

export const asPercent = (share: number) => `${Math.round(share * 1000) / 10}%`;
export const asSeconds = (lengthNs: number) => `${lengthNs / NS_PER_SECOND}s`;

/** How the operator knows it: by the label where labels were given, else by the field of the API. */
function fieldNames(
  labels: Readonly<Record<string, string>> | undefined,
): (where: Where) => string {
  if (labels === undefined) {
    return ([path]) => (path === '' ? 'Autoscale' : `Autoscale.${path}`);
  }
  const schedules = namesOfSchedules(labels);
  const named = (key: string) =>
    key.replace(
      /^schedule\.(\d+)\./,
      (_, index: string) => `schedule.${schedules[Number(index)]}.`,
    );
  const isAlias = !Object.keys(labels).some((label) => label.startsWith(AUTOSCALE_PREFIX));
  return ([, key]) => {
    if (isAlias) return 'labels: swarm.autoscaler';
    return key === '' ? 'labels: autoscale' : `labels: ${AUTOSCALE_PREFIX}${named(key)}`;
  };
}

/** In the order in which labels are read. */
function namesOfSchedules(labels: Readonly<Record<string, string>>): string[] {
  const prefix = `${AUTOSCALE_PREFIX}schedule.`;
  const names = Object.keys(labels)
    .filter((label) => label.startsWith(prefix))
    .map((label) => label.slice(prefix.length).split('.')[0] ?? '');
  return [...new Set(names)].sort();
}
