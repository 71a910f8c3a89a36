import type { Model, Operation } from './checker.ts';

/**
 * The definition, word by word: some choice among the calls of unknown outcome, in some order that no
 * two calls contradict in time, is legal. For a handful of operations only; it shares nothing with
 * the search that it is there to judge.
 */
export function isLinearizableByDefinition<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
): boolean {
  const parts = new Set(history.map(({ input }) => model.partOf(input)));
  return [...parts].every((part) => {
    const operations = history.filter(({ input }) => model.partOf(input) === part);
    const known = operations.filter((one) => one.return < Number.POSITIVE_INFINITY);
    const unknown = operations.filter((one) => one.return === Number.POSITIVE_INFINITY);
    return subsets(unknown).some((happened) =>
      orders([...known, ...happened]).some((order) => keepsTime(order) && isLegal(order, model)),
    );
  });
}

function subsets<T>(list: readonly T[]): T[][] {
  const [first, ...rest] = list;
  if (first === undefined) return [[]];
  return subsets(rest).flatMap((subset) => [subset, [first, ...subset]]);
}

function orders<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [[]];
  return list.flatMap((first, i) => orders(list.toSpliced(i, 1)).map((order) => [first, ...order]));
}

function keepsTime(order: readonly Operation<unknown, unknown>[]): boolean {
  return order.every((one, i) => order.slice(i + 1).every((later) => later.return >= one.call));
}

function isLegal<State, Input, Output>(
  order: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
): boolean {
  let state: State | undefined = model.initial;
  for (const { input, output } of order) {
    state = model.step(state, input, output);
    if (state === undefined) return false;
  }
  return true;
}
