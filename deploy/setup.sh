#!/usr/bin/env bash
# Installs what Shoal needs on a Debian machine: Debian packages, npm packages, the log helper and the memory addon.
# Says nothing when nothing is to do. Needs root for the packages.
set -eu
cd "$(dirname "$0")/.."

missing=''
need() { # need COMMAND PACKAGE
  PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need containerd containerd
need runc runc
need ip iproute2
need nft nftables
need conntrack conntrack
need nsenter util-linux
need pgrep procps
need curl curl
need update-ca-certificates ca-certificates
need cc gcc
need busybox busybox-static
need tini tini
if [ ! -e /usr/include/stdio.h ]; then missing="$missing libc6-dev"; fi
if [ "${1:-}" = --test ]; then
  need docker-registry docker-registry
  need redis-server redis-server
  need nats-server nats-server
fi
case ${1:-} in --test | --demo) need wrk wrk ;; esac

if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || { echo "setup: run as root, these packages are missing:$missing" >&2; exit 1; }
  command -v apt-get >/dev/null || { echo "setup: install these yourself, there is no apt-get here:$missing" >&2; exit 1; }
  echo "setup: installing$missing" >&2
  apt-get update -qq -o Acquire::Retries=3 >/dev/null
  # policy-rc.d: packages shall not start daemons of their own; Shoal starts a private containerd.
  made=''
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    made=yes
  fi
  trap '[ -z "$made" ] || rm -f /usr/sbin/policy-rc.d' EXIT
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Acquire::Retries=3 --no-install-recommends $missing >/dev/null
fi

# npm packages, Node 24 among them: again when the lock file is not the one they were made from.
stamp=node_modules/.shoal-lock
if ! cmp -s package-lock.json "$stamp"; then
  echo "setup: installing npm packages" >&2
  npm ci --fetch-retries=5 --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json "$stamp"
fi
sh agent/runtime/logger/build.sh node_modules/.cache/shoal
sh shared/io/malloc-trim/build.sh node_modules/.cache/shoal
