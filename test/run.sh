#!/usr/bin/env bash
# All checks and tests: npm test [-- --quick]. Ends with the line "N passed, N failed"; exits 1 when one failed.
# --quick leaves out the end-to-end tests.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"
quick=''
[ "${1:-}" = --quick ] && quick=yes
passed=0 failed=0
out=$(mktemp -d)
# A run that is ended or hangs leaves its cluster behind.
clean_up() {
  rm -rf "$out"
  local state
  for state in /var/lib/shoal-local/e2e-*/; do
    [ -d "$state" ] && deploy/local-cluster down --name "$(basename "$state")" >/dev/null
  done
}
trap clean_up EXIT
trap 'exit 130' INT TERM

bash deploy/setup.sh --test || { echo "set-up failed"; echo "0 passed, 1 failed"; exit 1; }
export PATH="$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin"

check() { # check NAME COMMAND...: one check, its output shown only when it fails
  local name=$1 start=$SECONDS; shift
  if "$@" >"$out/check" 2>&1; then
    passed=$((passed + 1)); echo "ok    $name ($((SECONDS - start)) s)"
  else
    failed=$((failed + 1)); echo "FAIL  $name"; sed 's/^/      /' "$out/check" | tail -n 80
  fi
}
# dependency-cruiser is content with a tree it cannot read: count what it saw.
layers() {
  local modules
  depcruise shared manager agent cli --config .dependency-cruiser.cjs >"$out/layers" 2>&1 || { cat "$out/layers"; return 1; }
  modules=$(sed -n 's/.*(\([0-9]*\) modules.*/\1/p' "$out/layers" | tail -n 1)
  [ "${modules:-0}" -ge 100 ] || { cat "$out/layers"; echo "only ${modules:-0} modules were seen"; return 1; }
}
# An ava run. test/support/tally.ts notes each test's end, also of those that hang; ava's own words go with a failure.
suite() { # suite NAME AVA_ARGUMENTS...
  local name=$1 start=$SECONDS status ok bad; shift
  : >"$out/tally"
  SHOAL_TEST_TALLY="$out/tally" ava "$@" >"$out/ava" 2>&1; status=$?
  ok=$(grep -c '^ok ' "$out/tally"); bad=$(grep -c '^not ok ' "$out/tally")
  # A run that fails without a failed test, that ran none, or whose end was not seen, is a failure too.
  if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$ok" -eq 0 ] || ! grep -qx end "$out/tally"; }; then bad=1; fi
  passed=$((passed + ok)); failed=$((failed + bad))
  echo "$([ "$bad" -eq 0 ] && echo 'ok   ' || echo 'FAIL ') $name: $ok passed, $bad failed ($((SECONDS - start)) s)"
  if [ "$bad" -ne 0 ]; then
    grep '^not ok ' "$out/tally" | head -n 100 | sed 's/^/      /'
    # The failures stand last, each with its difference and stack.
    grep -v '^  *✔ ' "$out/ava" | tail -n 300 | sed 's/^/      /'
  fi
}

check 'lint' biome check
check 'layers' layers
check 'types' tsc
check 'generated code' sh proto/gen.sh --check
check 'dead code' knip --no-progress
suite 'unit, property, simulation and real-part tests'
[ -n "$quick" ] || suite 'end to end' --config test/e2e/ava.config.js
echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
