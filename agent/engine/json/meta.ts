import type { Meta } from '../../../shared/gen/shoal/v1/objects.ts';

export const ZERO_TIME = '0001-01-01T00:00:00Z';

/** Milliseconds since 1970 as RFC 3339 in UTC; 0 is Go's zero time. */
export function rfc3339(ms: number): string {
  return ms === 0 ? ZERO_TIME : new Date(ms).toISOString();
}

/** The head of each swarm object. */
export function metaFields(object: { id: string; meta: Meta | undefined }) {
  return {
    ID: object.id,
    Version: { Index: object.meta?.version ?? 0 },
    CreatedAt: rfc3339(object.meta?.createdAtMs ?? 0),
    UpdatedAt: rfc3339(object.meta?.updatedAtMs ?? 0),
  };
}
