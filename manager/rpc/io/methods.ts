import type { CallContext } from '../../../shared/rpc/call-context.ts';
import type { RpcOptions } from '../../../shared/rpc/io/client.ts';
import type { LinkClient } from '../../../shared/rpc/io/link-client.ts';
import type { MethodPath } from '../authorisation.ts';
import { type ForwardDeps, onLeader } from '../forward.ts';
import { type Admitted, FORWARDED_BY, FORWARDED_FOR, type Guard } from '../guard.ts';
import type { ManagerChannels } from './manager-channels.ts';

export type MethodDeps = ForwardDeps &
  Readonly<{
    nodeId: string;
    guard: Guard;
    channels: ManagerChannels;
    /** Aborts when the manager stops: then streams end too. */
    stop: AbortSignal;
  }>;

type Definition<Req, Res> = Parameters<typeof LinkClient.prototype.unary<Req, Res>>[0];

/** Of calls whose caller names no deadline: nothing waits for ever on another host. */
const FORWARD_DEADLINE_MS = 30_000;

/** The ways a method is served: each is admitted first, by the table in `../authorisation.ts`. */
export class Methods {
  readonly #deps: MethodDeps;

  constructor(deps: MethodDeps) {
    this.#deps = deps;
  }

  /** On this manager, whoever leads. */
  here<Req, Res>(
    path: MethodPath,
    fn: (request: Req, signal: AbortSignal, admitted: Admitted) => Promise<Res> | Res,
  ) {
    return async (request: Req, context: CallContext): Promise<Res> => {
      const admitted = await this.#deps.guard.admit(path, context);
      return fn(request, context.signal, admitted);
    };
  }

  /** On the leader: carried out here, or sent on to it. */
  onLeader<Req, Res>(
    method: Definition<Req, Res> & Readonly<{ path: MethodPath }>,
    fn: (request: Req, signal: AbortSignal, admitted: Admitted) => Promise<Res>,
  ) {
    return async (request: Req, context: CallContext): Promise<Res> => {
      const { guard, channels } = this.#deps;
      const admitted = await guard.admit(method.path, context);
      return onLeader(this.#deps, {
        local: (signal) => fn(request, signal, admitted),
        remote: (address, signal) =>
          channels
            .linkTo(address)
            .unary(method, request, this.#forwarding(admitted, context, signal)),
        isForwarded: admitted.isForwarded,
        signal: context.signal,
        deadlineAtMs: context.deadlineAtMs,
      });
    };
  }

  /** Ends when the caller loses the right to it. */
  stream<Req, Res>(
    path: MethodPath,
    fn: (request: Req, signal: AbortSignal, admitted: Admitted) => AsyncIterable<Res>,
  ) {
    const { guard, stop } = this.#deps;
    return async function* (request: Req, context: CallContext): AsyncGenerator<Res> {
      const admitted = await guard.admit(path, context);
      const { signal, release } = guard.follow(path, context.caller);
      try {
        yield* fn(request, AbortSignal.any([context.signal, stop, signal]), admitted);
        signal.throwIfAborted();
      } catch (error) {
        throw signal.aborted ? signal.reason : error;
      } finally {
        release();
      }
    };
  }

  #forwarding(admitted: Admitted, context: CallContext, signal: AbortSignal): RpcOptions {
    const { clock, nodeId } = this.#deps;
    const leftMs =
      context.deadlineAtMs === undefined
        ? FORWARD_DEADLINE_MS
        : Math.max(1, context.deadlineAtMs - clock.now());
    const metadata = { [FORWARDED_BY]: nodeId, [FORWARDED_FOR]: admitted.nodeId };
    return { signal, deadlineMs: leftMs, metadata, mutates: true };
  }
}
