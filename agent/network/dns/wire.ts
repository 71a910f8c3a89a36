/**
 * The little of DNS messages (RFC 1035) that is read without decoding them: answers of other servers are
 * passed on as they are, whatever records they hold, but for their id and times to live.
 */

const HEADER_BYTES = 12;
const OPT = 41;
const SOA = 6;
const TRUNCATED = 0x02;

export type MessageFacts = Readonly<{
  /** Low four bits of the flags. */
  code: number;
  truncated: boolean;
  /** Where each record's 32-bit time to live is; pseudo records have none. */
  ttlOffsets: readonly number[];
  /** The least of them; undefined when there are no records. */
  ttlSeconds: number | undefined;
  /** The question section's bytes, as text: equal for an answer and its question. */
  question: string;
  answers: number;
}>;

/** Undefined when the message is malformed. */
export function readMessage(bytes: Uint8Array): MessageFacts | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const counts = [4, 6, 8, 10].map((offset) => view.getUint16(offset));
  const [questions = 0, answers = 0, authorities = 0, additionals = 0] = counts;
  let at = HEADER_BYTES;
  for (let i = 0; i < questions; i++) {
    const end = skipName(bytes, at);
    if (end === undefined || end + 4 > bytes.length) return undefined;
    at = end + 4;
  }
  const question = String.fromCharCode(...bytes.subarray(HEADER_BYTES, Math.min(at, 600)));
  const ttlOffsets: number[] = [];
  let ttlSeconds: number | undefined;
  for (let i = 0; i < answers + authorities + additionals; i++) {
    const end = skipName(bytes, at);
    if (end === undefined || end + 10 > bytes.length) return undefined;
    const type = view.getUint16(end);
    const length = view.getUint16(end + 8);
    if (end + 10 + length > bytes.length) return undefined;
    if (type !== OPT) {
      ttlOffsets.push(end + 4);
      let ttl = view.getUint32(end + 4);
      // A negative answer lives as long as the SOA's last field says (RFC 2308, section 5).
      if (type === SOA && answers === 0 && length >= 4) {
        ttl = Math.min(ttl, view.getUint32(end + 10 + length - 4));
      }
      ttlSeconds = Math.min(ttlSeconds ?? ttl, ttl);
    }
    at = end + 10 + length;
  }
  return {
    code: (bytes[3] ?? 0) & 0x0f,
    truncated: ((bytes[2] ?? 0) & TRUNCATED) !== 0,
    ttlOffsets,
    ttlSeconds,
    question: question.toLowerCase(),
    answers,
  };
}

/** A copy for another asker: with its id, and times to live less what has passed. */
export function reissue(
  bytes: Uint8Array,
  facts: MessageFacts,
  id: number,
  ageSeconds: number,
): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  view.setUint16(0, id);
  for (const offset of facts.ttlOffsets) {
    view.setUint32(offset, Math.max(0, view.getUint32(offset) - ageSeconds));
  }
  return copy;
}

/** The question's header with an error code and nothing else; undefined when there is no header to answer. */
export function errorMessage(query: Uint8Array, code: number): Uint8Array | undefined {
  if (query.length < HEADER_BYTES) return undefined;
  const facts = readQuestionEnd(query);
  const answer = Uint8Array.from(query.subarray(0, facts ?? HEADER_BYTES));
  const view = new DataView(answer.buffer);
  // Response; operation and "recursion desired" as asked.
  view.setUint8(2, 0x80 | (view.getUint8(2) & 0x79));
  view.setUint8(3, 0x80 | code);
  view.setUint16(4, facts === undefined ? 0 : view.getUint16(4));
  for (const offset of [6, 8, 10]) view.setUint16(offset, 0);
  return answer;
}

function readQuestionEnd(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = HEADER_BYTES;
  for (let i = 0; i < view.getUint16(4); i++) {
    const end = skipName(bytes, at);
    if (end === undefined || end + 4 > bytes.length) return undefined;
    at = end + 4;
  }
  return at;
}

/** Where a name ends; compression pointers end it and are not followed. */
function skipName(bytes: Uint8Array, start: number): number | undefined {
  let at = start;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= bytes.length ? at + 2 : undefined;
    if (length > 63) return undefined;
    at += length + 1;
  }
}
