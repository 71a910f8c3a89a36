import test from 'ava';
import { keepCertificateFresh, renewAt } from '../../../agent/node/renewal.ts';
import { silentLog } from '../../../shared/log.ts';
import { IdentityHolder, type TlsIdentity } from '../../../shared/pki/identity.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const DAY = 24 * 3_600_000;

test('renewAt() lies between half and four fifths of the life', (t) => {
  t.is(renewAt(0, 100, 0), 50);
  t.is(renewAt(0, 100, 1), 80);
  t.is(renewAt(1_000, 2_000, 0.5), 1_650);
});

test('a certificate is renewed in time, failures are tried again, and the new one is used', async (t) => {
  const clock = new ManualClock();
  const start = clock.now();
  const made = (serial: number): TlsIdentity => ({
    certificatePem: String(serial),
    keyPem: '',
    rootsPem: '',
    holder: { nodeId: 'n', role: 'worker', clusterId: 'c' },
  });
  const identity = new IdentityHolder(made(0));
  const end = new AbortController();
  const asked: number[] = [];
  let failures = 2;
  const done = keepCertificateFresh(
    {
      identity,
      validity: ({ certificatePem }) => {
        const notBeforeMs = start + Number(certificatePem) * 45 * DAY;
        return { notBeforeMs, notAfterMs: notBeforeMs + 90 * DAY };
      },
      renew: async () => {
        asked.push(Math.round((clock.now() - start) / 1_000) - (45 * DAY) / 1_000);
        if (failures-- > 0) throw new Error('no manager');
        return made(1);
      },
      clock,
      random: { next: () => 0, bytes: (n) => new Uint8Array(n) },
      log: silentLog,
    },
    end.signal,
  );
  await clock.advance(46 * DAY);
  t.deepEqual(asked, [0, 5, 15]);
  t.is(identity.current().certificatePem, '1');
  end.abort(new Error('over'));
  await done;
});
