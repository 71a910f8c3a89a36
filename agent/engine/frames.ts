/** Which stream a frame belongs to: 1 stdout, 2 stderr, 3 an error of ours. */
export type StreamNumber = 1 | 2 | 3;

const HEADER_BYTES = 8;

/** Docker's multiplexing: stream number, three zeros, length as big-endian uint32, then the bytes. */
export function frame(stream: StreamNumber, data: Uint8Array): Uint8Array {
  const framed = new Uint8Array(HEADER_BYTES + data.length);
  framed[0] = stream;
  new DataView(framed.buffer).setUint32(4, data.length);
  framed.set(data, HEADER_BYTES);
  return framed;
}
