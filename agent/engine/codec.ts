import { ShoalError } from '../../shared/errors.ts';

/**
 * One shape of JSON and the value it stands for, in both directions, written once. Clients read a
 * spec, change a field and send all of it back, so a field that only one direction knows is lost data.
 *
 * null and a missing field mean the same on the way in, as Go clients leave out or null what is empty.
 */
export type Codec<T> = Readonly<{
  /** Throws ShoalError `invalid-argument` naming `path` on a wrong type. */
  decode(json: unknown, path: string): T;
  /** undefined: the field is left out. */
  encode(value: T): unknown;
}>;

export function invalidJson(path: string, expected: string, json: unknown): ShoalError {
  const found = json === null ? 'null' : Array.isArray(json) ? 'a list' : `a ${typeof json}`;
  const where = path === '' ? 'the body' : path;
  return new ShoalError(
    'invalid-argument',
    `invalid JSON: ${where} must be ${expected}, not ${found}`,
  );
}

const missing = (json: unknown): json is null | undefined => json === null || json === undefined;

/** A codec for values that decode from nothing to `zero` and pass through as they are otherwise. */
function plain<T>(zero: T, expected: string, accepts: (json: unknown) => json is T): Codec<T> {
  return {
    decode(json, path) {
      if (missing(json)) return zero;
      if (!accepts(json)) throw invalidJson(path, expected, json);
      return json;
    },
    encode: (value) => value,
  };
}

export const text = plain('', 'a string', (json): json is string => typeof json === 'string');
export const flag = plain(
  false,
  'true or false',
  (json): json is boolean => typeof json === 'boolean',
);
export const ratio = plain(
  0,
  'a number',
  (json): json is number => typeof json === 'number' && Number.isFinite(json),
);

/** Whole numbers in [low, high]; the widest range is +-(2^53 - 1), which JSON numbers keep exactly. */
export function whole(low: number, high: number): Codec<number> {
  return {
    decode(json, path) {
      if (missing(json)) return 0;
      if (typeof json !== 'number') throw invalidJson(path, 'a whole number', json);
      if (!Number.isInteger(json) || json < low || json > high) {
        throw new ShoalError(
          'invalid-argument',
          `invalid JSON: ${path} must be a whole number from ${low} to ${high}, not ${json}`,
        );
      }
      return json;
    },
    encode: (value) => value,
  };
}
export const int64 = whole(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
export const uint64 = whole(0, Number.MAX_SAFE_INTEGER);
export const uint32 = whole(0, 0xffff_ffff);
export const int32 = whole(-0x8000_0000, 0x7fff_ffff);

export function list<T>(item: Codec<T>): Codec<T[]> {
  return {
    decode(json, path) {
      if (missing(json)) return [];
      if (!Array.isArray(json)) throw invalidJson(path, 'a list', json);
      return json.map((element, index) => item.decode(element, `${path}[${index}]`));
    },
    encode: (values) => values.map((value) => item.encode(value)),
  };
}

export const texts = list(text);

export const textMap: Codec<{ [key: string]: string }> = {
  decode(json, path) {
    if (missing(json)) return {};
    if (!isObject(json)) throw invalidJson(path, 'an object', json);
    // fromEntries and not assignment: a label called __proto__ stays a label.
    return Object.fromEntries(
      Object.entries(json).map(([key, value]) => [key, text.decode(value, `${path}.${key}`)]),
    );
  },
  encode: (value) => value,
};

/** Bytes as standard base64. */
export const base64: Codec<Buffer> = {
  decode(json, path) {
    const encoded = text.decode(json, path);
    if (!/^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$/.test(encoded)) {
      throw new ShoalError('invalid-argument', `invalid JSON: ${path} must be base64`);
    }
    return Buffer.from(encoded, 'base64');
  },
  encode: (value) => value.toString('base64'),
};

/** Left out when it is what nothing decodes to: Go's `omitempty`. */
export function sparse<T>(inner: Codec<T>): Codec<T> {
  return {
    decode: inner.decode,
    encode: (value) => (isEmpty(value) ? undefined : inner.encode(value)),
  };
}

/** Given or not given are different things: Go's pointer fields. */
export function maybe<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    decode: (json, path) => (missing(json) ? undefined : inner.decode(json, path)),
    encode: (value) => (value === undefined ? undefined : inner.encode(value)),
  };
}

/** A numeric enum as its JSON words; the first word is what nothing decodes to. */
export function words<T>(table: Readonly<Record<string, T>>): Codec<T> {
  const byWord = new Map(Object.entries(table));
  const byValue = new Map(Object.entries(table).map(([word, value]) => [value, word]));
  const [zero] = byWord.values();
  return {
    decode(json, path) {
      if (missing(json) || json === '') return zero as T;
      const found = byWord.get(text.decode(json, path).toLowerCase());
      if (found === undefined) {
        throw new ShoalError(
          'invalid-argument',
          `${path} must be one of ${[...byWord.keys()].join(', ')}, not "${json}"`,
        );
      }
      return found;
    },
    encode: (value) => byValue.get(value),
  };
}

/** Another value for the same JSON. */
export function via<A, B>(
  inner: Codec<A>,
  decode: (value: A, path: string) => B,
  encode: (value: B) => A,
): Codec<B> {
  return {
    decode: (json, path) => decode(inner.decode(json, path), path),
    encode: (value) => inner.encode(encode(value)),
  };
}

export type FieldTable<T> = {
  readonly [K in keyof T]-?: readonly [jsonName: string, codec: Codec<T[K]>];
};

/**
 * An object, field by field, in JSON order. Names match in any case, as in Go. Fields it does not
 * name are ignored, but those in `refused` are known to Docker and not served here: anything but an
 * empty value there throws `unimplemented` with the field's name, for dropping it would change what
 * the client asked for.
 */
export function struct<T extends object>(
  table: FieldTable<T>,
  refused: readonly string[] = [],
): Codec<T> {
  const fields = Object.entries(table) as [string, readonly [string, Codec<unknown>]][];
  const byName = new Map<string, readonly [string, Codec<unknown>]>();
  for (const [key, [name, codec]] of fields) byName.set(name.toLowerCase(), [key, codec]);
  const refusedNames = new Set(refused.map((name) => name.toLowerCase()));
  return {
    decode(json, path) {
      const at = (name: string) => (path === '' ? name : `${path}.${name}`);
      const given = new Map<string, unknown>();
      if (!missing(json)) {
        if (!isObject(json)) throw invalidJson(path, 'an object', json);
        for (const [name, value] of Object.entries(json)) {
          const lower = name.toLowerCase();
          if (byName.has(lower)) given.set(lower, value);
          else if (refusedNames.has(lower)) refuse(value, at(name));
        }
      }
      return Object.fromEntries(
        fields.map(([key, [name, codec]]) => [
          key,
          codec.decode(given.get(name.toLowerCase()), at(name)),
        ]),
      ) as T;
    },
    encode(value) {
      const out: Record<string, unknown> = {};
      for (const [key, [name, codec]] of fields) {
        const encoded = codec.encode((value as Record<string, unknown>)[key]);
        if (encoded !== undefined) out[name] = encoded;
      }
      return out;
    },
  };
}

/** As `struct`, but a name it does not know is refused: for shapes that only this API has. */
export function exact<T extends object>(table: FieldTable<T>): Codec<T> {
  const inner = struct(table);
  const names = Object.values<readonly [string, unknown]>(table).map(([name]) => name);
  const known = new Set(names.map((name) => name.toLowerCase()));
  return {
    decode(json, path) {
      const unknown = isObject(json)
        ? Object.keys(json).find((name) => !known.has(name.toLowerCase()))
        : undefined;
      if (unknown === undefined) return inner.decode(json, path);
      throw new ShoalError(
        'invalid-argument',
        `${path === '' ? '' : `${path}.`}${unknown} is unknown: expected ${names.join(', ')}`,
      );
    },
    encode: inner.encode,
  };
}

export function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '' || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (value instanceof Uint8Array) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

/** Throws for the first part that asks for something: `{"NoNewPrivileges": false}` does not. */
function refuse(json: unknown, path: string): void {
  if (isObject(json)) {
    for (const [name, value] of Object.entries(json)) refuse(value, `${path}.${name}`);
    return;
  }
  if (missing(json) || json === '' || json === 0 || json === false) return;
  if (Array.isArray(json) && json.length === 0) return;
  throw fieldNotSupported(path);
}

export function fieldNotSupported(path: string): ShoalError {
  return new ShoalError('unimplemented', `this field is not supported yet: ${path}`);
}
