import type { ContainerConfig, ContainerState } from './types.ts';

/** Key of the container's configuration among the extensions of containerd's record. */
export const CONFIG_EXTENSION = 'shoal.config';
export const CONFIG_TYPE = 'shoal/container-config/v1';

/** What only we know of a container's life; kept in a small file, since containerd forgets a deleted task. */
export type LifeRecord = Readonly<{
  startedAtMs: number;
  finishedAtMs: number;
  exitCode: number;
  oomKilled: boolean;
  error: string;
}>;

export const NEW_LIFE: LifeRecord = {
  startedAtMs: 0,
  finishedAtMs: 0,
  exitCode: 0,
  oomKilled: false,
  error: '',
};

export function encodeConfig(config: ContainerConfig): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(config));
}

/** Undefined for a record that is not ours, or of a version of ours that we do not know. */
export function decodeConfig(bytes: Uint8Array | undefined): ContainerConfig | undefined {
  if (bytes === undefined) return undefined;
  try {
    const config = JSON.parse(new TextDecoder().decode(bytes)) as ContainerConfig;
    return typeof config.id === 'string' && Array.isArray(config.mounts) ? config : undefined;
  } catch {
    return undefined;
  }
}

/** Unreadable text (cut off by a power loss) is a container of which nothing is known. */
export function decodeLife(text: string | undefined): LifeRecord {
  try {
    return { ...NEW_LIFE, ...(JSON.parse(text ?? '{}') as Partial<LifeRecord>) };
  } catch {
    return NEW_LIFE;
  }
}

/** The state of a container without a task: it has ended, or was never started. */
export function restingState(life: LifeRecord): ContainerState {
  return { ...life, status: life.startedAtMs > 0 ? 'exited' : 'created', pid: 0 };
}

/** How a start that failed looks in Docker: the shell's codes for "not found" and "cannot run", or another. */
export function startFailureCode(message: string, otherwise = 128): number {
  if (/executable file not found|no such file or directory/i.test(message)) return 127;
  if (/permission denied|is a directory|exec format error/i.test(message)) return 126;
  return otherwise;
}
