import test from 'ava';
import { capabilities } from '../../../agent/runtime/capabilities.ts';
import { seccompProfile } from '../../../agent/runtime/seccomp.ts';

const allowed = (add: string[], drop: string[] = []) => {
  const profile = seccompProfile(capabilities(add, drop), 'x64');
  return new Set(
    profile?.syscalls.flatMap(({ names, args, action }) =>
      args === undefined && action === 'SCMP_ACT_ALLOW' ? names : [],
    ),
  );
};

test('the default profile is that of Docker 20.10 for its default capabilities', (t) => {
  const profile = seccompProfile(capabilities([], []), 'x64');
  t.is(profile?.defaultAction, 'SCMP_ACT_ERRNO');
  t.deepEqual(profile?.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
  // 346 plain names, ptrace, arch_prctl, modify_ldt, chroot.
  t.is(allowed([]).size, 350);
  for (const name of ['mount', 'bpf', 'unshare', 'reboot', 'keyctl', 'setns', 'clone', 'clone3']) {
    t.false(allowed([]).has(name), name);
  }
  const clone = profile?.syscalls.find(({ names }) => names[0] === 'clone');
  t.deepEqual(clone?.args, [{ index: 0, value: 2114060288, op: 'SCMP_CMP_MASKED_EQ' }]);
  t.is(profile?.syscalls.find(({ names }) => names[0] === 'clone3')?.errnoRet, 38);
  t.is(profile?.syscalls.filter(({ names }) => names[0] === 'personality').length, 5);
});

test('the profile follows the capabilities that are held', (t) => {
  t.false(allowed([], ['SYS_CHROOT']).has('chroot'));
  t.true(allowed(['SYS_TIME']).has('settimeofday'));
  const admin = allowed(['sys_admin']);
  t.true(['mount', 'clone', 'clone3', 'unshare'].every((name) => admin.has(name)));
  const rules = seccompProfile(capabilities(['ALL'], []), 'x64')?.syscalls ?? [];
  t.false(
    rules.some(({ errnoRet }) => errnoRet !== undefined),
    'clone3 is not hidden any more',
  );
});

test('each architecture has its own names; an unknown one has no filter', (t) => {
  const arm = seccompProfile(capabilities([], []), 'arm64');
  t.deepEqual(arm?.architectures, ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
  t.false(arm?.syscalls.some(({ names }) => names.includes('arch_prctl')));
  t.is(seccompProfile([], 'riscv64'), undefined);
  t.deepEqual(seccompProfile([], 'x64', true)?.architectures, ['SCMP_ARCH_X86_64']);
});

test('capabilities are added, dropped, and named in any form', (t) => {
  t.true(capabilities(['cap_net_admin'], []).includes('CAP_NET_ADMIN'));
  t.is(capabilities([], ['all']).length, 0);
  t.deepEqual(capabilities(['KILL'], ['ALL']), ['CAP_KILL']);
  t.is(capabilities(['ALL'], []).length, 41);
  t.false(capabilities(['ALL'], ['CAP_KILL']).includes('CAP_KILL'));
});
