/** A method of strings, so that a test of the transport needs no proto of its own. */
export const textMethod = <Q extends boolean = false, S extends boolean = false>(
  path: string,
  requestStream = false as Q,
  responseStream = false as S,
) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString(),
});
