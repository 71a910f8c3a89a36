import { ShoalError } from '../errors.ts';

/** Throws ShoalError `invalid-argument`; `field` says where the labels are: `labels`, `ContainerSpec: labels`. */
export function checkLabels(field: string, labels: Readonly<Record<string, string>>): void {
  for (const key of Object.keys(labels)) {
    if (key.trim() === '') {
      throw new ShoalError('invalid-argument', `${field}: a label needs a key before its value`);
    }
  }
}
