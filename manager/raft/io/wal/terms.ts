import type { Place } from './content.ts';

/** Terms of a log's entries, as runs: they change with leaders and not with entries. */
export class TermRuns {
  #runs: Place[] = [];

  /** Of the run that `index` would lie in; undefined before the first one. */
  at(index: number): number | undefined {
    return this.#runs.findLast((run) => run.index <= index)?.term;
  }

  /** From `index` on entries have `term`: the log ends there so far, or is cut there. */
  from(index: number, term: number): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && last.term === term && last.index <= index) return;
    while ((this.#runs.at(-1)?.index ?? -1) >= index) this.#runs.pop();
    if (this.#runs.at(-1)?.term !== term) this.#runs.push({ index, term });
  }

  /** What lies before `index` is not asked for any more. */
  forgetBefore(index: number): void {
    const at = this.#runs.findLastIndex((run) => run.index <= index);
    if (at > 0) this.#runs.splice(0, at);
  }

  clear(): void {
    this.#runs = [];
  }
}
