import type { FromNode, PlainError, ToNode } from './protocol.ts';

const NO_ROOM: PlainError = {
  code: 'resource-exhausted',
  message:
    "there is no room left on the disk of this manager's Raft log: make some, or write through another manager",
  leader: undefined,
};

/** What a member without room answers instead of doing it; undefined for what it can do all the same. */
export function refusedForRoom(message: ToNode): FromNode | undefined {
  switch (message.kind) {
    case 'propose': {
      const { firstId, lengths } = message;
      return { kind: 'failed', firstId, count: lengths.length, error: NO_ROOM };
    }
    case 'add-member':
    case 'remove-member':
      return { kind: 'failed', firstId: message.id, count: 1, error: NO_ROOM };
    default:
      return undefined;
  }
}
