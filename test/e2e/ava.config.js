// Whole clusters of real hosts: one test file at a time, each with a cluster of its own.
import { observeRun } from '../support/tally.ts';

export default {
  extensions: ['ts'],
  files: ['test/e2e/**/*.test.ts'],
  concurrency: 1,
  timeout: '5m',
  nonSemVerExperiments: { observeRunsFromConfig: true },
  observeRun,
};
