#!/bin/sh
# Durable writes of three etcd members and of three managers, one right after the other, in one table:
# figures of different runs on a shared machine do not compare.
#
#     sh test/bench/store-beside-etcd.sh DIR [REPS]
#
# DIR (or PEER_DIR) holds `store-bench.sh -r REPS`, which measures etcd and prints a JSON line a figure
# as store-writes.ts does: members, scenario, clients, per_second, p50_ms, p99_ms, cpu_servers, n, rep.
set -eu
dir=${1:-${PEER_DIR:-}}
reps=${2:-3}
if [ ! -f "$dir/store-bench.sh" ]; then
  echo "usage: sh test/bench/store-beside-etcd.sh DIR [REPS]: '$dir' has no store-bench.sh" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bash "$dir/store-bench.sh" -r "$reps" > "$out/etcd"
PATH="$root/node_modules/.bin:$PATH" node "$root/test/bench/store-writes.ts" --reps "$reps" > "$out/shoal"
cat "$out/etcd" "$out/shoal" | PATH="$root/node_modules/.bin:$PATH" node "$root/test/bench/store-table.ts"
