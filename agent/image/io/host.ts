/** Node's name of this machine's architecture. */
export function hostArchitecture(): string {
  return process.arch;
}
