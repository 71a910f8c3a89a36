#!/bin/sh
# Makes the log helper: build.sh [FOLDER], default node_modules/.cache/shoal. The result is FOLDER/shoal-logger:
# a static program, or the shell version where there is no C compiler. Does nothing when it is up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../../node_modules/.cache/shoal}
mkdir -p "$out"
target=$out/shoal-logger
if [ -x "$target" ] && [ "$target" -nt "$here/logger.c" ] && [ "$target" -nt "$here/logger.sh" ]; then exit 0; fi
new=$target.$$
trap 'rm -f "$new"' EXIT
if ! cc -O2 -static -s -Wall -o "$new" "$here/logger.c" 2>/dev/null; then
  echo "build.sh: no working C compiler: containers' output goes through a slower shell script" >&2
  cp "$here/logger.sh" "$new"
fi
chmod 755 "$new"
mv -f "$new" "$target"
