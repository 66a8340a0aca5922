#!/usr/bin/env bash
# Uploads through nginx, which takes an interim response for the final one where it speaks HTTP/1.1
# to the server:  nginx.sh <server-url> <server-url with --interim on> <work-dir>
set -euo pipefail
server=${1%/} insistent=${2%/} work=$3
mkdir -p "$work"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
modern=$(port) plain=$(port)
# Its workers write the bodies that it buffers; as root they would be somebody who may not.
user=
if [ "$(id -u)" = 0 ]; then user="user root;"; fi
cat >"$work/nginx.conf" <<CONF
daemon off;
$user
pid $work/nginx.pid;
error_log $work/error.log;
events {}
http {
    access_log off;
    client_max_body_size 0;
    client_body_temp_path $work/body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    # What a 104 would break: HTTP/1.1 upstream. The server sees X-Forwarded-For, and sends none.
    server {
        listen 127.0.0.1:$modern;
        location / {
            proxy_pass $server;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
        }
    }
    # What nginx does by itself: HTTP/1.0 upstream, to which no 1xx is ever sent.
    server {
        listen 127.0.0.1:$plain;
        location / { proxy_pass $insistent; }
    }
}
CONF
nginx -p "$work" -c "$work/nginx.conf" 2>"$work/start.log" &
nginx=$!
trap 'kill $nginx 2>/dev/null || true; wait $nginx 2>/dev/null || true' EXIT
for proxy in "$modern" "$plain"; do
    curl -fsS --retry 50 --retry-connrefused --retry-delay 1 --retry-max-time 30 \
        "http://127.0.0.1:$proxy/healthz" >/dev/null || { cat "$work"/*.log >&2; exit 1; }
done

head -c 3000000 /dev/urandom >"$work/source"
length=3000000
for proxy in "$modern" "$plain"; do
    base=http://127.0.0.1:$proxy
    rm -f "$work/sent"
    # As long as a 104 about progress would come in, were there one.
    curl -sS -o "$work/answer" -D "$work/head" -w '%{http_code}' --max-time 60 \
        --limit-rate 1500k -X POST --data-binary "@$work/source" \
        -H 'Upload-Complete: ?1' -H 'Upload-Draft-Interop-Version: 8' "$base/files/" >"$work/status"
    grep -qx 201 "$work/status" || { echo "not ok through $proxy: $(cat "$work/status")" >&2; exit 1; }
    if grep -q '^HTTP/[0-9.]* 104' "$work/head"; then
        echo "not ok through $proxy: a 104 came through" >&2
        exit 1
    fi
    location=$(tr -d '\r' <"$work/head" | sed -n 's/^location: //Ip')
    curl -sS "$base/files/${location##*/}" >"$work/sent"
    cmp "$work/source" "$work/sent"
    [ "$(stat -c %s "$work/sent")" = $length ]
    echo "ok an upload through nginx on port $proxy"
done
