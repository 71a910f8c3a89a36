#!/bin/bash
# The log helper where no C compiler is: same files and arguments as logger.c, without partial lines
# (a line is held until it ends) and with microseconds. Costs two bash processes per container.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
trap '' TERM INT
IFS=, read -r max files dir <<<"$2"
log=$dir/log
rotate() {
  local i
  for ((i = files - 1; i > 1; i--)); do [ ! -e "$log.$((i - 1))" ] || mv -f "$log.$((i - 1))" "$log.$i"; done
  if [ "$files" -gt 1 ]; then mv -f "$log" "$log.1"; else rm -f "$log"; fi
}
copy() { # copy STREAM FD
  local line size more=yes
  while [ -n "$more" ]; do
    IFS= read -r line <&"$2" || { more=''; [ -n "$line" ] || break; }
    printf -v at '%(%Y-%m-%dT%H:%M:%S)T.%s000Z' -1 "${EPOCHREALTIME#*.}"
    (
      flock 9
      printf '%s %s F %s\n' "$at" "$1" "$line" >>"$log"
      if [ "$max" -gt 0 ] && size=$(stat -c %s "$log") && [ "$size" -ge "$max" ]; then rotate; fi
    ) 9>>"$dir/lock" 2>/dev/null
  done
}
export TZ=UTC
exec 5>&-
copy stdout 3 &
copy stderr 4 &
wait
