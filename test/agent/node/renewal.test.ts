import test, { type ExecutionContext } from 'ava';
import {
  CertificateKeeper,
  renewAt,
  renewalReason,
  type Wishes,
} from '../../../agent/node/renewal.ts';
import { silentLog } from '../../../shared/log.ts';
import { IdentityHolder, type TlsIdentity } from '../../../shared/pki/identity.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

test('renewAt() lies between half and four fifths of the life', (t) => {
  t.is(renewAt(0, 100, 0), 50);
  t.is(renewAt(0, 100, 1), 80);
  t.is(renewAt(1_000, 2_000, 0.5), 1_650);
});

const wishes = (some: Partial<Wishes>): Wishes => ({
  rootCaPem: '',
  signingRootPem: '',
  certificateValidityMs: 0,
  renewWithinMs: 10_000,
  ...some,
});

for (const [what, wish, expected] of [
  ['nothing is asked for', {}, undefined],
  ['the root that issued it signs still', { signingRootPem: 'old' }, undefined],
  ['another root signs', { signingRootPem: 'new' }, 'root'],
  ['the same life is wanted', { certificateValidityMs: 90 * DAY }, undefined],
  ['a longer life is wanted', { certificateValidityMs: 100 * DAY }, undefined],
  ['a shorter life is wanted', { certificateValidityMs: DAY }, 'life'],
] as const) {
  test(`a certificate of 90 days by the old root, where ${what}: ${expected ?? 'stays'}`, (t) => {
    const life = { notBeforeMs: -HOUR, notAfterMs: 90 * DAY };
    t.is(
      renewalReason(life, (root) => root === 'old', wishes(wish)),
      expected,
    );
  });
}

/** Certificates are called `<root>-<number>`; each lives for 90 days from when it is made. */
function setUp(t: ExecutionContext, renewals: (() => string)[]) {
  const clock = new ManualClock();
  const start = clock.now();
  const made = new Map<string, number>();
  const make = (certificatePem: string, rootsPem: string): TlsIdentity => {
    if (!made.has(certificatePem)) made.set(certificatePem, clock.now());
    const holder = { nodeId: 'n', role: 'worker', clusterId: 'c' } as const;
    return { certificatePem, keyPem: '', rootsPem, holder };
  };
  const identity = new IdentityHolder(make('old-1', 'old'));
  const asked: number[] = [];
  const keeper = new CertificateKeeper({
    identity,
    life: ({ certificatePem }) => {
      const atMs = made.get(certificatePem) ?? 0;
      return { notBeforeMs: atMs - HOUR, notAfterMs: atMs + 90 * DAY };
    },
    isIssuedBy: ({ certificatePem }, root) => certificatePem.startsWith(root),
    renew: async () => {
      asked.push(Math.round((clock.now() - start) / 1_000));
      const next = renewals.shift();
      if (next === undefined) throw new Error('no manager');
      return make(next(), identity.current().rootsPem);
    },
    trust: async (rootsPem) => {
      const { certificatePem } = identity.current();
      if (!rootsPem.split('+').some((root) => certificatePem.startsWith(root))) {
        throw new Error('none of the roots issued it');
      }
      return make(certificatePem, rootsPem);
    },
    clock,
    random: { next: () => 0.5, bytes: (n) => new Uint8Array(n) },
    log: silentLog,
  });
  const end = new AbortController();
  const done = keeper.run(end.signal);
  t.teardown(async () => {
    end.abort(new Error('over'));
    await done;
  });
  return { clock, identity, keeper, asked };
}

const fail = () => {
  throw new Error('no manager');
};

test('a certificate is renewed in time, failures are tried again, and the new one is used', async (t) => {
  const { clock, identity, asked } = setUp(t, [fail, fail, () => 'old-2']);
  const due = (90 * DAY * 0.65) / 1_000;
  await clock.advance(due * 1_000 + 60_000);
  t.deepEqual(asked, [due, due + 5, due + 15]);
  t.is(identity.current().certificatePem, 'old-2');
});

test('a root that rotates is trusted at once, its certificate asked for within the spread, the old root dropped last', async (t) => {
  const { clock, identity, keeper, asked } = setUp(t, [() => 'new-1']);
  await settle();
  keeper.told(wishes({ rootCaPem: 'old+new', signingRootPem: 'new' }));
  await settle();
  t.is(identity.current().rootsPem, 'old+new');
  t.deepEqual(asked, []);
  await clock.advance(5_000);
  t.deepEqual(asked, [5]);
  t.is(identity.current().certificatePem, 'new-1');
  keeper.told(wishes({ rootCaPem: 'new', signingRootPem: 'new' }));
  await settle();
  t.is(identity.current().rootsPem, 'new');
  await clock.advance(DAY);
  t.is(asked.length, 1);
});

test('a node that missed the rotation keeps its root until it has a certificate of the next one', async (t) => {
  const { clock, identity, keeper } = setUp(t, [() => 'new-1']);
  await settle();
  keeper.told(wishes({ rootCaPem: 'new', signingRootPem: 'new' }));
  await settle();
  t.is(identity.current().rootsPem, 'old');
  await clock.advance(5_000);
  t.like(identity.current(), { certificatePem: 'new-1', rootsPem: 'new' });
});

test('a certificate that is refused is renewed at once, and not in a loop', async (t) => {
  const { clock, identity, keeper, asked } = setUp(t, [() => 'old-2', () => 'old-3']);
  await settle();
  keeper.refused();
  await settle();
  t.deepEqual(asked, [0]);
  t.is(identity.current().certificatePem, 'old-2');
  keeper.refused();
  await clock.advance(4_000);
  t.is(asked.length, 1);
  await clock.advance(2_000);
  t.deepEqual(asked, [0, 5]);
});
