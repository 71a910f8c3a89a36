/** What `fromPartial` of a generated message takes. */
export type MessageInitShape<M extends { fromPartial(object: never): unknown }> = Parameters<
  M['fromPartial']
>[0];
