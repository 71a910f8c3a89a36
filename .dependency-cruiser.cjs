// The layers, as law. Core files (everything outside io/ folders and main.ts) import no Node module and no npm package.
const edge = ['(^|/)main\\.ts$', '/io/', '^shared/gen/'];
module.exports = {
  forbidden: [
    {
      name: 'programs-apart',
      severity: 'error',
      from: { path: '^(manager|agent|cli)/' },
      to: { path: '^(manager|agent|cli)/', pathNot: '^$1/' },
    },
    {
      name: 'shared-is-the-floor',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(manager|agent|cli|deploy|test)/' },
    },
    {
      name: 'no-test-code-in-programs',
      severity: 'error',
      from: { path: '^(shared|manager|agent|cli)/' },
      to: { path: '^(test|deploy)/' },
    },
    {
      name: 'io-at-the-edge',
      severity: 'error',
      from: { path: '^(shared|manager|agent)/', pathNot: edge },
      to: { dependencyTypes: ['core', 'npm'] },
    },
    {
      name: 'compose-in-main',
      severity: 'error',
      from: { pathNot: '(^|/)main\\.ts$' },
      to: { path: 'node_modules/(tsyringe|reflect-metadata)/' },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: { pathNot: '^shared/gen/' },
      to: { circular: true },
    },
  ],
  options: { tsPreCompilationDeps: true, doNotFollow: { path: 'node_modules' } },
};
