import type { FromNode, PlainError, ToNode } from './protocol.ts';

export const NO_ROOM_WORDS =
  "there is no room left on the disk of this manager's Raft log: make some, or use another manager";
const NO_ROOM: PlainError = {
  code: 'resource-exhausted',
  message: NO_ROOM_WORDS,
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
