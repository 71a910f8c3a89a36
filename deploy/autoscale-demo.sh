#!/usr/bin/env bash
# autoscale-demo.sh: two minutes of a service that follows its load: three hosts on this machine, one web service whose
# answers cost CPU time, a client that comes and goes, and a live view. Everything is gone at the end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
name=scale port=8081
quiet_s=8 load_s=45 after_s=45

cluster() { "$here/local-cluster" "$1" --name "$name" "${@:2}"; }
client='' view=''
finish() {
  for pid in $client $view; do kill "$pid" 2>/dev/null || :; done
  wait 2>/dev/null || :
  echo "Taking the three hosts down ..."
  cluster down
}
trap finish EXIT
trap 'exit 130' INT TERM

echo "Starting three hosts (each a manager and an agent) ..."
cluster up >/dev/null
mapfile -t hosts < <(cluster status)
export DOCKER_HOST
DOCKER_HOST=$(awk '{print $3}' <<<"${hosts[0]}")
address=$(awk '{print $2}' <<<"${hosts[0]}")
image=$root/node_modules/.cache/shoal/web.tar
sh "$here/images/build.sh" "$image" shoal-web:1
for host in "${hosts[@]}"; do
  DOCKER_HOST=$(awk '{print $3}' <<<"$host") "$here/shoal" image load "$image" >/dev/null
done

cat <<TEXT

  shoal service create --name web --publish $port:80 --limit-cpu 0.2 \\
    --label autoscale.enable=true --label autoscale.min=1 --label autoscale.max=6 \\
    --label autoscale.cpu=70% --label autoscale.down.stabilize=15s shoal-web:1

TEXT
"$here/shoal" service create --detach --name web --publish "$port:80" --limit-cpu 0.2 --env 'TASK={{.Task.Name}}' \
  --label autoscale.enable=true --label autoscale.min=1 --label autoscale.max=6 \
  --label autoscale.cpu=70% --label autoscale.down.stabilize=15s shoal-web:1 >/dev/null

echo "For $quiet_s s nobody asks, then 16 clients do for $load_s s, then nobody again. The view below is 'shoal top'."
(
  sleep "$quiet_s"
  cluster exec --host h1 -- wrk -t 1 -c 16 -d "${load_s}s" --timeout 5s "http://$address:$port/cgi-bin/burn?5000" |
    grep -E 'requests in|Requests/sec' >"$root/node_modules/.cache/shoal/autoscale-demo.wrk"
) &
client=$!
"$here/shoal" top &
view=$!
sleep $((quiet_s + load_s + after_s))
kill "$view" 2>/dev/null || :
wait "$view" 2>/dev/null || :
view=''
wait "$client" || :
client=''

printf '\nThe client saw:\n'
cat "$root/node_modules/.cache/shoal/autoscale-demo.wrk"
printf '\nWhy it scaled (shoal service explain web):\n\n'
"$here/shoal" service explain web
