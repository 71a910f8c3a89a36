import { observeRun } from './test/support/tally.ts';

export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts', '!test/e2e/**', '!test/bench/**'],
  workerThreads: false,
  timeout: '120s',
  nonSemVerExperiments: { observeRunsFromConfig: true },
  observeRun,
};
