import type { TaskSample } from '../../shared/gen/shoal/v1/autoscale.ts';
import { type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import { SampleRing, type Signal, type Windows } from './signals.ts';
import type { MetricInput, TaskView, Windowed } from './types.ts';

/** The same moment on both clocks: wall time is for what is kept and shown, monotonic time for intervals. */
export type Moment = Readonly<{ nowMs: number; monotonicMs: number }>;

type WatchedTask = {
  readonly nodeId: string;
  view: TaskView;
  /** Since when it is ready, monotonic. */
  readyAtMs: number;
  ring: SampleRing | undefined;
};

const NOTHING: Windowed = { stable: undefined, fast: undefined };

/** The tasks of one service that are wanted, and what was measured of them. */
export class WatchedTasks {
  readonly #tasks = new Map<string, WatchedTask>();
  #views: readonly TaskView[] | undefined;
  #ready = 0;

  /** A task that was there when this leader began: when it became ready is in its status, by its host's clock. */
  found(task: Task, at: Moment): void {
    if (!concerns(task)) return;
    const readyForMs = Math.max(0, at.nowMs - (task.status?.atMs ?? at.nowMs));
    this.#put(task, {
      nowMs: at.nowMs - readyForMs,
      monotonicMs: at.monotonicMs - readyForMs,
    });
  }

  changed(task: Task, at: Moment): void {
    if (concerns(task)) this.#put(task, at);
    else this.removed(task.id);
  }

  removed(taskId: string): void {
    const known = this.#tasks.get(taskId);
    if (known === undefined) return;
    if (known.view.phase === 'ready') this.#ready -= 1;
    this.#tasks.delete(taskId);
    this.#views = undefined;
  }

  /** Ignores what is no task of this service and node that is wanted: a node speaks for its own tasks only. */
  sampled(nodeId: string, sample: TaskSample, endMs: number): void {
    const task = this.#tasks.get(sample.taskId);
    if (task === undefined || task.nodeId !== nodeId) return;
    task.ring ??= new SampleRing();
    task.ring.add(sample, endMs);
  }

  get ready(): number {
    return this.#ready;
  }

  /** The same list until something changes; `metric` has the same order. */
  views(): readonly TaskView[] {
    this.#views ??= Array.from(this.#tasks.values(), ({ view }) => view);
    return this.#views;
  }

  /** Of each task, in the order of `views`. */
  metric(signal: Signal, windows: Windows, monotonicMs: number): MetricInput {
    const loads: Windowed[] = [];
    for (const task of this.#tasks.values()) {
      loads.push(
        task.ring === undefined || task.view.phase !== 'ready'
          ? NOTHING
          : task.ring.windowed(signal, monotonicMs, windows, task.readyAtMs),
      );
    }
    return { kind: 'tasks', loads };
  }

  #put(task: Task, readyAt: Moment): void {
    const { id, nodeId } = task;
    const known = this.#tasks.get(id);
    const phase = phaseOf(task);
    if (known !== undefined && known.view.phase === phase && known.nodeId === nodeId) return;
    const isReady = phase === 'ready';
    const wasReady = known?.view.phase === 'ready';
    if (isReady !== wasReady) this.#ready += isReady ? 1 : -1;
    this.#tasks.set(id, {
      nodeId,
      view: { phase, readySinceMs: isReady ? readyAt.nowMs : 0 },
      readyAtMs: isReady ? readyAt.monotonicMs : Number.POSITIVE_INFINITY,
      ring: known?.ring,
    });
    this.#views = undefined;
  }
}

function concerns(task: Task): boolean {
  return isWanted(task.desiredState) && !isTerminal(task.status?.state ?? TaskState.NEW);
}

function phaseOf({ nodeId, status }: Task): TaskView['phase'] {
  if (status?.state === TaskState.RUNNING && status.healthy) return 'ready';
  // One that was made a moment ago has no place either, but nobody has looked for one yet.
  const isRefused = nodeId === '' && status !== undefined && status.err !== '';
  return isRefused ? 'unplaced' : 'starting';
}
