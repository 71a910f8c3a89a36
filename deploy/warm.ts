/**
 * Fills the compile cache for both programs, so that the long-lived processes start from stripped and
 * compiled sources: one that has to strip types itself keeps the stripper, about 30 MiB, until it ends.
 */
import { flushCompileCache } from 'node:module';

const PROGRAMS = ['agent/main.ts', 'manager/main.ts', 'manager/raft/io/worker.ts'];

for (const program of PROGRAMS) {
  const url = new URL(`../${program}`, import.meta.url).href;
  // Linking fails by the missing name, after all that the program imports was compiled and before any of it ran.
  const source = `import ${JSON.stringify(url)}; import { absent } from 'node:module';`;
  await import(`data:text/javascript,${encodeURIComponent(source)}`).catch((error: unknown) => {
    if (!(error instanceof SyntaxError && error.message.includes('absent'))) throw error;
  });
}
flushCompileCache();
