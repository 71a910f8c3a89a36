#!/bin/sh
# build.sh OUT.tar [NAME]: a small image from the machine's static busybox, as `docker save` would write it; nothing is
# done when OUT.tar is newer than this script.
# It serves HTTP on port 80 and says which task answers: GET /, /cgi-bin/env and /cgi-bin/burn?N, which costs CPU time.
set -eu
out=$1 name=${2:-shoal-web:1}
[ "$out" -nt "$0" ] && exit 0
mkdir -p "$(dirname "$out")"
busybox=$(command -v busybox)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rootfs=$work/rootfs
mkdir -p "$rootfs/bin" "$rootfs/tmp" "$rootfs/etc" "$rootfs/proc" "$rootfs/sys" "$rootfs/dev" "$rootfs/root" "$rootfs/www/cgi-bin"
chmod 1777 "$rootfs/tmp"
cp "$(readlink -f "$busybox")" "$rootfs/bin/busybox"
for applet in $("$rootfs/bin/busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$rootfs/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:1000:1000:www:/www:/bin/sh\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\nwww:x:1000:\n' >"$rootfs/etc/group"
cat >"$rootfs/www/cgi-bin/index.cgi" <<'CGI'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "Hello from ${TASK:-$(hostname)} on ${NODE:-an unnamed host}, asked by ${REMOTE_ADDR:-?}"
CGI
cat >"$rootfs/www/cgi-bin/env" <<'CGI'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
env | sort
CGI
cat >"$rootfs/www/cgi-bin/burn" <<'CGI'
#!/bin/sh
# burn?N: counts to N (20000) before it answers, so that an answer costs CPU time.
n=${QUERY_STRING:-20000} i=0
case $n in *[!0-9]*) n=20000 ;; esac
while [ "$i" -lt "$n" ]; do i=$((i + 1)); done
printf 'Content-Type: text/plain\r\n\r\n'
echo "counted to $n in ${TASK:-$(hostname)}"
CGI
cat >"$rootfs/bin/serve" <<'SERVE'
#!/bin/sh
# On SIGTERM it takes no more connections, and ends once those that it has are answered.
port=${PORT:-80}
end() {
  kill $child
  while netstat -tn | grep -q ":$port .*ESTABLISHED"; do usleep 10000; done
  exit 0
}
trap end TERM INT
httpd -f -p "$port" -h /www &
child=$!
wait $child
SERVE
chmod 755 "$rootfs/www/cgi-bin/index.cgi" "$rootfs/www/cgi-bin/env" "$rootfs/www/cgi-bin/burn" "$rootfs/bin/serve"
tar -C "$rootfs" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer.tar" .
diff=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
cat >"$work/config.json" <<JSON
{"architecture":"$arch","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["serve"],"WorkingDir":"/www","ExposedPorts":{"80/tcp":{}}},"rootfs":{"type":"layers","diff_ids":["sha256:$diff"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"busybox and a web server of three scripts"}]}
JSON
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]\n' "$name" >"$work/manifest.json"
tar -C "$work" --owner=0 --group=0 --mtime=@0 -cf "$out.tmp" manifest.json config.json layer.tar
mv "$out.tmp" "$out"
