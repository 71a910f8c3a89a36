import { ShoalError } from '../../shared/errors.ts';

type Call = Readonly<{
  resolve: (index: number) => void;
  reject: (error: Error) => void;
  settle: () => void;
}>;

/** Calls that have left and whose outcome has not come yet, by their ids. */
export class PendingCalls {
  readonly #calls = new Map<number, Call>();
  #bytes = 0;

  get size(): number {
    return this.#calls.size;
  }
  /** Payload of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whoever aborts learns nothing of the outcome: it is on its way. */
  wait(id: number, bytes: number, signal: AbortSignal | undefined): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const onAbort = () =>
      this.reject(
        id,
        new ShoalError('unknown-outcome', 'nobody waits any more: it may still be carried out', {
          cause: signal?.reason,
        }),
      );
    const settle = () => {
      this.#calls.delete(id);
      this.#bytes -= bytes;
      signal?.removeEventListener('abort', onAbort);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#bytes += bytes;
    this.#calls.set(id, { resolve, reject, settle });
    return promise;
  }

  resolve(id: number, index: number): void {
    const call = this.#calls.get(id);
    call?.settle();
    call?.resolve(index);
  }

  reject(id: number, error: Error): void {
    const call = this.#calls.get(id);
    call?.settle();
    call?.reject(error);
  }

  rejectAll(error: Error): void {
    for (const id of [...this.#calls.keys()]) this.reject(id, error);
  }
}
