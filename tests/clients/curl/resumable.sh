#!/usr/bin/env bash
# An ordinary handler, an upload to which is cut half-way and completed by a second request:
#   resumable.sh <url of examples/resumable or its like> <work-dir> [--no-interim]
# With --no-interim the application has no way to send 104, and the URL is asked for first.
set -euo pipefail
base=${1%/} work=$2 interim=${3-}
mkdir -p "$work"
fail() { echo "not ok $*" >&2; exit 1; }
field() { tr -d '\r' <"$1" | sed -n "s/^$2: //Ip" | head -n 1; }
status() { sed -n 's|^HTTP/[0-9.]* \([0-9]*\).*|\1|p' "$1" | tail -n 1; }

head -c 3000000 /dev/urandom | base64 >"$work/source"
length=$(stat -c %s "$work/source")
words=$(wc -w <"$work/source")

if [ -z "$interim" ]; then
    # One request with everything, which breaks after a second; what curl heard of it is a 104.
    timeout 1.5 curl -s -D "$work/head" -o "$work/answer" --limit-rate 1M \
        -X POST --data-binary "@$work/source" -H 'Content-Type: text/plain' \
        -H 'Upload-Complete: ?1' -H 'Upload-Draft-Interop-Version: 8' "$base/words" && fail "it was not cut"
    grep -q '^HTTP/1.1 104 Upload Resumption Supported' "$work/head" || fail "no 104"
else
    curl -sS -D "$work/head" -o "$work/answer" -X POST -H 'Content-Type: text/plain' \
        -H 'Upload-Complete: ?0' -H "Upload-Length: $length" "$base/words"
    [ "$(status "$work/head")" = 201 ] || fail "a creation: $(status "$work/head")"
fi
url=$base$(field "$work/head" location)
if [ -n "$interim" ]; then
    timeout 1.5 curl -s -o "$work/answer" --limit-rate 1M -X PATCH --data-binary "@$work/source" \
        -H 'Content-Type: application/partial-upload' -H 'Upload-Complete: ?1' \
        -H 'Upload-Offset: 0' "$url" && fail "it was not cut"
fi

curl -sS -I "$url" >"$work/head"
offset=$(field "$work/head" upload-offset)
[ "$(field "$work/head" upload-complete)" = '?0' ] || fail "a cut upload is complete"
[ "$offset" -gt 0 ] && [ "$offset" -lt "$length" ] || fail "$offset of $length"
tail -c +$((offset + 1)) "$work/source" >"$work/rest"
curl -sS -D "$work/head" -o "$work/answer" -X PATCH --data-binary "@$work/rest" \
    -H 'Content-Type: application/partial-upload' -H 'Upload-Complete: ?1' \
    -H "Upload-Offset: $offset" "$url"
[ "$(status "$work/head")" = 201 ] || fail "the rest: $(status "$work/head") $(cat "$work/answer")"
[ "$(field "$work/head" upload-complete)" = '?1' ] || fail "the answer is not the handler's"
wanted="{\"bytes\":$length,\"type\":\"text/plain\",\"words\":$words}"
[ "$(cat "$work/answer")" = "$wanted" ] || fail "$(cat "$work/answer") is not $wanted"
echo "ok cut at $offset of $length, and answered by the handler"
