/** A cluster this size is simulated; a slip of the finger in `scale` shall not be tried out. */
export const MAX_REPLICAS = 1_000_000;
