export type TurnPorts = Readonly<{
  /** Runs `fn` after what is waiting to be read has been read: all of that becomes one batch. */
  defer: (fn: () => void) => void;
  /** Before anything that came in is looked at. */
  enter: () => void;
  /** Carries out what came of all that entered since the last turn. */
  turn: () => void;
  /** The node cannot go on: nothing is retried. */
  fail: (error: unknown) => void;
}>;

/** The turns of a node: whatever enters between two of them shares an append, a sync and a message. */
export class NodeTurns {
  readonly #ports: TurnPorts;
  #due = false;
  #stopped = false;

  constructor(ports: TurnPorts) {
    this.#ports = ports;
  }

  /** Nothing enters any more, and there is no further turn. */
  get stopped(): boolean {
    return this.#stopped;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Everything that enters goes through here: afterwards a turn is due; a failure ends the node. */
  guard(work: () => void): void {
    if (this.#stopped) return;
    try {
      this.#ports.enter();
      work();
    } catch (error) {
      this.#ports.fail(error);
      return;
    }
    this.schedule();
  }

  schedule(): void {
    if (this.#due || this.#stopped) return;
    this.#due = true;
    this.#ports.defer(() => {
      this.#due = false;
      if (this.#stopped) return;
      try {
        this.#ports.turn();
      } catch (error) {
        this.#ports.fail(error);
      }
    });
  }
}
