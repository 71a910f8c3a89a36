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
trap 'rm -rf "$out"' EXIT

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
suite() { # suite NAME AVA_ARGUMENTS...: an ava run, its tests counted one by one
  local name=$1 start=$SECONDS status ok bad; shift
  ava --tap "$@" >"$out/tap" 2>"$out/tap.err"; status=$?
  ok=$(grep -c '^ok ' "$out/tap"); bad=$(grep -c '^not ok ' "$out/tap")
  # A file that does not load, or a run that dies, is a failure too.
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + ok)); failed=$((failed + bad))
  echo "$([ "$bad" -eq 0 ] && echo 'ok   ' || echo 'FAIL ') $name: $ok passed, $bad failed ($((SECONDS - start)) s)"
  if [ "$bad" -ne 0 ]; then
    awk '/^not ok /{show=1} /^ok /{show=0} show' "$out/tap" | head -n 400 | sed 's/^/      /'
    tail -n 40 "$out/tap.err" | sed 's/^/      /'
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
