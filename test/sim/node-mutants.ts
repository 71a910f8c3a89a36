import type { ManagersWorld } from './manager.ts';
import type { Mutant } from './mutant-list.ts';
import { loadEdited } from './mutants.ts';

type NodeMutant = Pick<Mutant, 'name' | 'edits'>;

/** Bugs in what surrounds the core: the order of effects, proposals, snapshots. */
export const NODE_MUTANTS: readonly NodeMutant[] = [
  {
    name: 'sends its answers before it has written what they vouch for',
    edits: [
      {
        file: 'node.ts',
        find: 'this.#sender.send(ready.messages);',
        replace: 'this.#sender.send(ready.messages); this.#sender.send(ready.messagesAfterSync);',
      },
    ],
  },
  {
    name: 'writes lazily what must be on disk',
    edits: [{ file: 'keep.ts', find: '{ lazy: !mustSync },', replace: '{ lazy: true },' }],
  },
  {
    name: 'starts from a snapshot that was never synced',
    edits: [
      {
        file: 'node-snapshots.ts',
        find: 'taking.sink.commit().then(',
        replace: '((f: () => void, _g: unknown) => f())(',
      },
    ],
  },
  {
    name: 'calls a write refused that a later leader may yet commit',
    edits: [
      {
        file: 'node-proposals.ts',
        find: "code: 'unknown-outcome',",
        replace: "code: 'unavailable',",
      },
    ],
  },
];

export async function loadNodeMutant(mutant: NodeMutant): Promise<ManagersWorld['createNode']> {
  const load = await loadEdited(mutant.name, mutant.edits, 'node.ts');
  const { RaftNode } = load as typeof import('../../manager/raft/node.ts');
  return (config, ports) => new RaftNode(config, ports);
}
