import { ShoalError } from '../../shared/errors.ts';

/** The request is wrong whatever the state is. */
export function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message);
}

/** The state forbids it; the message says what to do first. */
export function precondition(message: string): ShoalError {
  return new ShoalError('failed-precondition', message);
}

/** Swarm has it, this version does not. `what` names the field. */
export function unimplemented(what: string): ShoalError {
  return new ShoalError('unimplemented', what);
}

export function notFound(kind: string, reference: string): ShoalError {
  return new ShoalError('not-found', `${kind} ${reference} not found`);
}

export function outOfSequence(): ShoalError {
  return new ShoalError('out-of-sequence', 'update out of sequence');
}
