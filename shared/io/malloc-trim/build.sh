#!/bin/sh
# Makes the addon: build.sh [FOLDER], default node_modules/.cache/shoal. The result is FOLDER/malloc-trim.node, or
# nothing where there is no C compiler: the daemons then keep more memory. Does nothing when it is up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../../node_modules/.cache/shoal}
mkdir -p "$out"
target=$out/malloc-trim.node
if [ "$target" -nt "$here/malloc-trim.c" ]; then exit 0; fi
new=$target.$$
trap 'rm -f "$new"' EXIT
if cc -O2 -fPIC -shared -s -Wall -fvisibility=hidden -o "$new" "$here/malloc-trim.c" 2>/dev/null; then
  mv -f "$new" "$target"
else
  echo "build.sh: no working C compiler: idle daemons keep more memory" >&2
fi
