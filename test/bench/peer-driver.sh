#!/usr/bin/env bash
# peer-driver.sh up OUT.env | down: a local cluster for a benchmark that compares cluster systems through the
# Docker Engine API, and the file of shell variables that tells such a benchmark how to reach it:
#   BENCH_HOSTS "NAME=ENDPOINT=ADDRESS ..." (managers first), BENCH_IMAGE (an id every node has), and the hooks
#   BENCH_FRESH, _DROP, _KILL, _START, _CUT, _HEAL, _PIDS, _CPU, each called with a host's name (FRESH: its number).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
name=${BENCH_NAME:-bench}
cluster=$root/deploy/local-cluster
image=$root/node_modules/.cache/shoal/web.tar

case ${1:-} in
up)
  out=$2
  [ -f "$image" ] || sh "$root/deploy/images/build.sh" "$image" shoal-web:1
  "$cluster" up --name "$name" --hosts "${BENCH_HOST_COUNT:-3}" --managers 3 >"$out.hosts"
  while read -r _ _ endpoint; do DOCKER_HOST=$endpoint "$root/deploy/shoal" image load "$image" >/dev/null; done <"$out.hosts"
  first=$(awk 'NR == 1 {print $3}' "$out.hosts")
  {
    echo "BENCH_SYSTEM=shoal"
    echo "BENCH_HOSTS=\"$(awk '{printf "%s=%s=%s ", $1, $3, $2}' "$out.hosts")\""
    echo "BENCH_IMAGE=$(curl -sS --unix-socket "${first#unix://}" http://shoal/images/shoal-web:1/json | grep -o '"Id":"sha256:[0-9a-f]*"' | cut -d'"' -f4)"
    echo "BENCH_FRESH_INDEX=$(($(wc -l <"$out.hosts") + 1))"
    echo "BENCH_FRESH=\"$here/peer-driver.sh fresh\""
    for hook in remove:DROP kill:KILL start:START partition:CUT heal:HEAL pids:PIDS cpu:CPU; do
      echo "BENCH_${hook#*:}=\"$cluster ${hook%:*} --name $name --host\""
    done
  } >"$out"
  rm -f "$out.hosts"
  echo "driver: $out" ;;
fresh)
  line=$("$cluster" add --name "$name" --host "h$2")
  DOCKER_HOST=$(awk '{print $3}' <<<"$line") "$root/deploy/shoal" image load "$image" >/dev/null
  awk '{print $1, $3, $2}' <<<"$line" ;;
down) "$cluster" down --name "$name" ;;
*) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
