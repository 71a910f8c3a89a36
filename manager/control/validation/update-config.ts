import type { RestartPolicy, UpdateConfig } from '../../../shared/gen/shoal/v1/objects.ts';
import { invalid } from '../refuse.ts';

const ORDERS = ['', 'stop-first', 'start-first'];
const UPDATE_ACTIONS = ['', 'pause', 'continue', 'rollback'];
const ROLLBACK_ACTIONS = ['', 'pause', 'continue'];
const RESTART_CONDITIONS = ['', 'none', 'on-failure', 'any'];

export function checkUpdateConfig(
  kind: 'update' | 'rollback',
  config: UpdateConfig | undefined,
): void {
  if (config === undefined) return;
  const { parallelism, delayNs, monitorNs, maxFailureRatio, failureAction, order } = config;
  if (parallelism < 0) throw invalid(`TaskSpec: ${kind}-parallelism cannot be negative`);
  if (delayNs < 0) throw invalid(`TaskSpec: ${kind}-delay cannot be negative`);
  if ((monitorNs ?? 0) < 0) throw invalid(`TaskSpec: ${kind}-monitor cannot be negative`);
  // Written so that NaN is refused as well.
  if (!(maxFailureRatio >= 0 && maxFailureRatio <= 1)) {
    throw invalid(`TaskSpec: ${kind}-maxfailureratio cannot be less than 0 or bigger than 1`);
  }
  const actions = kind === 'update' ? UPDATE_ACTIONS : ROLLBACK_ACTIONS;
  checkWord(`${kind}-failure-action`, failureAction, actions);
  checkWord(`${kind}-order`, order, ORDERS);
}

export function checkRestartPolicy(policy: RestartPolicy | undefined): void {
  if (policy === undefined) return;
  checkWord('restart-condition', policy.condition, RESTART_CONDITIONS);
  if ((policy.delayNs ?? 0) < 0) throw invalid('TaskSpec: restart-delay cannot be negative');
  if ((policy.windowNs ?? 0) < 0) throw invalid('TaskSpec: restart-window cannot be negative');
  if ((policy.maxAttempts ?? 0) < 0) {
    throw invalid('TaskSpec: restart-max-attempts cannot be negative');
  }
}

function checkWord(field: string, word: string, allowed: readonly string[]): void {
  if (allowed.includes(word)) return;
  const expected = allowed.filter((one) => one !== '').join(', ');
  throw invalid(
    `TaskSpec: ${field} ${JSON.stringify(word)} is unknown: expected one of ${expected}`,
  );
}
