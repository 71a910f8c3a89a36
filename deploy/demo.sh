#!/usr/bin/env bash
# demo.sh start|stop: three hosts on this machine, an overlay network and a web service with five replicas.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
name=demo
cluster() { "$here/local-cluster" "$1" --name "$name" "${@:2}"; }

if [ "${1:-}" = stop ]; then
  cluster down
  echo "The demo cluster is gone."
  exit 0
fi
[ "${1:-}" = start ] || { echo "usage: demo.sh start|stop" >&2; exit 2; }

echo "Starting three hosts (each a manager and an agent) ..."
cluster up >/dev/null
mapfile -t hosts < <(cluster status)
socket() { awk '{print $3}' <<<"$1"; }
first=$(socket "${hosts[0]}")
shoal() { DOCKER_HOST=$first "$here/shoal" "$@"; }

image=$root/node_modules/.cache/shoal/web.tar
sh "$here/images/build.sh" "$image" shoal-web:1
for host in "${hosts[@]}"; do
  DOCKER_HOST=$(socket "$host") "$here/shoal" image load "$image" >/dev/null
done
shoal network ls --format json | grep -q '"Name": *"web-net"' || shoal network create web-net >/dev/null
if ! shoal service ls --format json | grep -q '"Name": *"web"'; then
  shoal service create --name web --replicas 5 --network web-net --publish 8080:80 \
    --env 'TASK={{.Task.Name}}' --env 'NODE={{.Node.Hostname}}' shoal-web:1
fi

echo; shoal node ls
echo; shoal service ps web
echo
for host in "${hosts[@]}"; do
  address=$(awk '{print $2}' <<<"$host")
  for _ in 1 2 3; do
    printf '%s:8080  ' "$address"
    curl -sS --max-time 5 --retry 20 --retry-delay 1 --retry-connrefused "http://$address:8080/cgi-bin/index.cgi"
  done
done
cat <<TEXT

Try next, with the docker CLI (28.x) or with $here/shoal:
  export DOCKER_HOST=$first
  docker node ls
  docker service scale web=10
  docker service ps web
  docker service update --env-add COLOR=blue web
  docker service logs web
  deploy/local-cluster kill --host h3      # a host loses power: its tasks run elsewhere
  deploy/local-cluster start --host h3
Remove all of it:
  npm stop
TEXT
