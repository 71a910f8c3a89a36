/** A leader whose state machine takes nothing for so long hands over: it serves nobody. */
const STUCK_TICKS = 150;

export type LeaderHealth = Readonly<{
  leads: boolean;
  diskFull: boolean;
  /** Newest entry given to the state machine, and the newest that it said it has applied. */
  handedOut: number;
  applied: number;
}>;

/** Judges at each tick whether a leader had better hand over while it still can. */
export class Fitness {
  readonly #electionTicks: number;
  #ticks = 0;
  #stuckTicks = 0;

  /** A disk that is (about to be) full is a reason once in `electionTicks`. */
  constructor(electionTicks: number) {
    this.#electionTicks = electionTicks;
  }

  /** Why it should; undefined when it is fit, or leads nobody. */
  tick({ leads, diskFull, handedOut, applied }: LeaderHealth): string | undefined {
    this.#ticks++;
    this.#stuckTicks = leads && handedOut > applied ? this.#stuckTicks + 1 : 0;
    if (this.#stuckTicks >= STUCK_TICKS) {
      this.#stuckTicks = 0;
      return 'the state machine takes no entries';
    }
    return leads && diskFull && this.#ticks % this.#electionTicks === 0
      ? 'the disk is full'
      : undefined;
  }
}
