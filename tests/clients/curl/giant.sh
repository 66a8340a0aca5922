#!/usr/bin/env bash
# A large file in one PATCH, cut three times, with one kill -9 of the server between: it arrives
# whole, and the server stays small.
#
#   giant.sh SERVER WORK_DIR [MIB]      default 5120 MiB; twice that is needed on the disk
set -euo pipefail

server_program=$1 work=$2 mib=${3:-5120}
limit_kib=$((20 * 1024))
mkdir -p "$work"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
fail() { echo "not ok giant_file_survives_cuts_and_a_kill: $*" >&2; exit 1; }

start() {
    "$server_program" --port 0 --upload-dir "$work/uploads" --destination-dir "$work/files" \
        >"$work/out" 2>>"$work/log" &
    server=$!
    for _ in $(seq 600); do
        url=$(sed -n 's/^tus-server .* on \(http.*\)$/\1/p' "$work/out")
        [ -n "$url" ] && return
        sleep 0.1
    done
    fail "the server did not start"
}

# The most memory that the server has held, in KiB.
peak() { sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$server/status"; }

offset() {
    curl -fsSI -H 'Tus-Resumable: 1.0.0' "$url$path" | tr -d '\r' | sed -n 's/^upload-offset: //Ip'
}

# send SECONDS [CURL_FLAG...]: everything from the offset on in one PATCH, for so long at most.
send() {
    local seconds=$1 from
    shift
    from=$(offset)
    tail -c +$((from + 1)) "$work/giant.bin" |
        timeout "$seconds" curl "$@" -sS -o /dev/null -w '%{http_code}' -T - -H 'Expect:' -X PATCH \
            -H 'Tus-Resumable: 1.0.0' -H "Upload-Offset: $from" \
            -H 'Content-Type: application/offset+octet-stream' "$url$path" || true
}

head -c "${mib}M" /dev/urandom >"$work/giant.bin"
length=$(stat -c %s "$work/giant.bin")
start
path=$(curl -fsSi -X POST -H 'Tus-Resumable: 1.0.0' -H "Upload-Length: $length" \
    -H "Upload-Metadata: filename $(printf giant.bin | base64)" "$url/files/" |
    tr -d '\r' | sed -n 's/^location: //Ip')

# Slowed down, so that on a fast machine too the file is not through before the cut.
slow=(--limit-rate "$((mib / 8))M")
told=0
for cut in 1 2 3; do
    send 1 "${slow[@]}" >/dev/null
    now=$(offset)
    [ "$now" -ge "$told" ] || fail "told $told, and after cut $cut only $now"
    [ "$now" -lt "$length" ] || fail "cut $cut came too late; give it a larger file"
    told=$now
done
highest=$(peak)

send 60 "${slow[@]}" >/dev/null &
sender=$!
sleep 0.5
kill -9 "$server"
wait "$server" 2>/dev/null || true
wait "$sender" || true
start
now=$(offset)
[ "$now" -ge "$told" ] || fail "told $told before the kill, $now after it"
status=$(send 3600)
[ "$status" = 204 ] || fail "the last PATCH was answered $status"
second=$(peak)
[ "$second" -gt "$highest" ] && highest=$second
cmp "$work/giant.bin" "$work/files/giant.bin" || fail "the file differs from what was sent"
[ "$highest" -lt "$limit_kib" ] || fail "the server held $highest KiB, more than $limit_kib"
kill "$server"
wait "$server" || fail "the server ended with $? after SIGTERM"
server=
echo "ok giant_file_survives_cuts_and_a_kill: $mib MiB, at most $highest KiB held, offsets told up to $told before the kill, $now after it"
