#!/usr/bin/env bash
# First process of a local host's own pid, mount and uts namespaces: keeps shoald running, as an init
# system would, and reaps orphans. When it is killed, everything on the host ends at once.
#   host-init.sh ROOT DIR NAME ADDRESS CGROUP_PARENT
root=$1 dir=$2 name=$3 address=$4 parent=$5
hostname "$name"
# Let go of other namespaces' mounts, and give the host a /run of its own.
awk '$5 ~ /^\/run\/netns/ {print $5}' /proc/self/mountinfo | sort -ru | while read -r m; do umount -l "$m" 2>/dev/null; done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
extra=()
[ -f "$dir/shoald.args" ] && mapfile -t extra <"$dir/shoald.args"
[ -f "$dir/../shoald.args" ] && mapfile -t -O "${#extra[@]}" extra <"$dir/../shoald.args"
child=''
trap 'ending=yes; [ -n "$child" ] && kill -TERM "$child" 2>/dev/null' TERM INT
ending=''
while [ -z "$ending" ]; do
  rm -f "$dir/shoal.sock"
  bash "$root/deploy/shoald" --state-dir "$dir/state" --run-dir /run/shoal --socket "$dir/shoal.sock" \
    --hostname "$name" --advertise-address "$address" --cgroup-parent "$parent" "${extra[@]}" >>"$dir/shoald.log" 2>&1 &
  child=$!
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
  [ -n "$ending" ] || sleep 0.2
done
