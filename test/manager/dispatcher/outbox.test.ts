import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type ItemSource, Outbox } from '../../../manager/dispatcher/outbox.ts';
import { encodeAssignments, encodeMessage } from '../../../manager/dispatcher/wire.ts';
import {
  AssignmentChange,
  type AssignmentItem,
  type Assignments,
  ManagerMessage,
} from '../../../shared/gen/shoal/v1/dispatcher.ts';

/** A set of items that tests change; each item is a host whose MTU is its version. */
class Items implements ItemSource {
  readonly versions = new Map<string, number>();
  index = 1;

  keys() {
    return this.versions.keys();
  }

  encodedChange(key: string) {
    const version = this.versions.get(key);
    return version === undefined
      ? undefined
      : AssignmentChange.encode({ key, item: host(key, version) }).finish();
  }

  revision() {
    return this.index;
  }
}

function host(key: string, overlayMtu: number): AssignmentItem {
  const value = { nodeId: key, hostname: 'h'.repeat(50), dataPathAddress: '', overlayMtu };
  return { item: { $case: 'host', value } };
}

/** What an agent makes of the messages; throws on a gap. */
class Reader {
  readonly versions = new Map<string, number>();
  revision = 0;
  #sequence = 0;
  #isInside = false;

  take(t: ExecutionContext, bytes: Uint8Array): Assignments {
    const { message } = ManagerMessage.decode(bytes);
    if (message?.$case !== 'assignments') throw new Error('not assignments');
    const { value } = message;
    t.is(value.appliesTo, this.#sequence);
    t.is(value.resultsIn, this.#sequence + 1);
    this.#sequence = value.resultsIn;
    t.false(
      this.#isInside && !value.complete,
      'nothing comes between the chunks of a complete set',
    );
    if (value.complete && !this.#isInside) this.versions.clear();
    this.#isInside = value.complete && value.more;
    for (const { key, item } of value.changes) {
      if (item?.item?.$case === 'host') this.versions.set(key, item.item.value.overlayMtu);
      else this.versions.delete(key);
    }
    t.true(value.revision >= this.revision);
    this.revision = value.revision;
    return value;
  }
}

test('encodeAssignments() gives the bytes that the generated code would', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 300 }), { maxLength: 80 }), (keys) => {
      const changes = keys.map((key) => AssignmentChange.fromPartial({ key, item: host(key, 1) }));
      const head = { complete: true, more: false, appliesTo: 0, resultsIn: 1, revision: 7 };
      const encoded = encodeAssignments(
        head,
        changes.map((change) => AssignmentChange.encode(change).finish()),
      );
      const value = { ...head, changes };
      t.deepEqual(ManagerMessage.decode(encoded), {
        message: { $case: 'assignments', value },
      });
      t.is(encoded.length, encodeMessage({ $case: 'assignments', value }).length);
    }),
    { numRuns: 60 },
  );
});

test('a reader that takes messages whenever it likes ends with the items as they are', (t) => {
  const key = fc.integer({ min: 0, max: 30 }).map((n) => `host/${n}`);
  const step = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), key }),
    fc.record({ kind: fc.constant('drop' as const), key }),
    fc.record({ kind: fc.constant('read' as const), count: fc.integer({ min: 1, max: 4 }) }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 0, max: 20 }),
      (steps, dirtyMaxKeys, atFirst) => {
        const items = new Items();
        for (let i = 0; i < atFirst; i++) items.versions.set(`host/${i}`, 1);
        const outbox = new Outbox(items, { chunkMaxBytes: 250, dirtyMaxKeys });
        const reader = new Reader();
        for (const action of steps) {
          if (action.kind === 'read') {
            for (let i = 0; i < action.count; i++) {
              const bytes = outbox.next();
              if (bytes !== undefined) reader.take(t, bytes);
            }
            continue;
          }
          items.index += 1;
          if (action.kind === 'put') items.versions.set(action.key, items.index);
          else items.versions.delete(action.key);
          outbox.touch(action.key);
        }
        for (let bytes = outbox.next(); bytes !== undefined; bytes = outbox.next()) {
          t.true(bytes.length < 400, 'a message has about the size that was asked for');
          reader.take(t, bytes);
        }
        t.false(outbox.pending);
        t.deepEqual([...reader.versions].sort(), [...items.versions].sort());
        t.is(reader.revision, outbox.sentRevision);
      },
    ),
    { numRuns: 300 },
  );
});

test('an empty set is told too: its reader must know that it has nothing to do', (t) => {
  const outbox = new Outbox(new Items(), { chunkMaxBytes: 1000 });
  const value = new Reader().take(t, outbox.next() ?? new Uint8Array());
  t.like(value, { complete: true, more: false, changes: { length: 0 }, revision: 1 });
});

test('a revision is only claimed when everything up to it was sent', (t) => {
  const items = new Items();
  const outbox = new Outbox(items, { chunkMaxBytes: 150 });
  const reader = new Reader();
  reader.take(t, outbox.next() ?? new Uint8Array());
  items.index = 9;
  for (const key of ['host/a', 'host/b', 'host/c']) {
    items.versions.set(key, 9);
    outbox.touch(key);
  }
  const revisions: number[] = [];
  for (let bytes = outbox.next(); bytes !== undefined; bytes = outbox.next()) {
    revisions.push(reader.take(t, bytes).revision);
  }
  t.deepEqual(revisions, [1, 1, 9]);
});

test('an item larger than a message goes alone', (t) => {
  const items = new Items();
  items.versions.set('host/a', 1);
  items.versions.set('host/b', 1);
  const outbox = new Outbox(items, { chunkMaxBytes: 1 });
  const reader = new Reader();
  t.is(reader.take(t, outbox.next() ?? new Uint8Array()).changes.length, 1);
  t.is(reader.take(t, outbox.next() ?? new Uint8Array()).changes.length, 1);
  t.is(outbox.next(), undefined);
});
