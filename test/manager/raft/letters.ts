import type { RaftId } from '../../../manager/raft/types.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';

/** Members named by a letter each. */
export const id = (letter: string) => letter.repeat(25) as RaftId;

export const member = (letter: string): RaftMember => ({
  raftId: id(letter),
  nodeId: `node-${letter}`,
  address: `${letter}:2377`,
  raftAddress: `${letter}:7946`,
});
