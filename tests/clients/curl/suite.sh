#!/usr/bin/env bash
# curl, as a person would type it, against a running tus server:  suite.sh <endpoint-url> <work-dir>
# The server must offer every extension of tus 1.0.0 and answer GET on an upload's URL.
set -Eeuo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

http1_only=(
  expect_100_continue_is_answered
  refusal_comes_before_the_body
  http_1_0_client_is_served
  chunked_body_is_taken_from_a_pipe
  chunked_body_is_taken_from_a_file
  killed_chunked_body_is_kept_and_resumed
)
scenarios=(
  discovery_names_the_extensions
  one_patch_arrives_whole
  "${http1_only[@]}"
  endpoint_answers_with_and_without_a_slash
  head_tells_offset_and_length
  metadata_comes_back_as_sent
  zero_bytes_are_complete_at_creation
  cut_body_is_kept_and_resumed
  stale_offset_is_refused
  wrong_content_type_is_refused
  right_checksum_is_accepted
  wrong_checksum_leaves_no_trace
  unknown_checksum_algorithm_is_refused
  creation_carries_the_whole_upload
  creation_carries_the_first_bytes
  deferred_length_is_told_later
  two_parts_become_one_upload
  method_override_takes_the_place_of_patch_and_delete
  deleted_upload_is_gone
  unknown_upload_is_not_found
  wrong_version_is_refused
  range_is_downloaded
)

usage() {
  echo "usage: suite.sh [--list] [--only <name>]... [--except <name>]... [--http2]" \
    "[--deadline <s>] <endpoint-url> <work-dir>" >&2
  exit 2
}

discovery_names_the_extensions() {
  local extension
  plain -X OPTIONS "$endpoint"
  expect "status of OPTIONS" "$(status)" 200 204
  expect "Tus-Version" "$(field Tus-Version)" 1.0.0
  for extension in creation creation-with-upload creation-defer-length checksum termination \
    concatenation; do
    expect_in_list Tus-Extension "$extension"
  done
  expect_in_list Tus-Checksum-Algorithm sha1
}

one_patch_arrives_whole() {
  create "$length"
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -H 'Expect:' --data-binary "@$file" "$url"
  expect "status of PATCH" "$(status)" 204
  expect "Upload-Offset" "$(field Upload-Offset)" "$length"
  expect_stored "$url" "$file"
}

expect_100_continue_is_answered() {
  create "$length"
  local url
  url=$(location)
  # Long enough that a server which never says 100 runs into the deadline of the suite.
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -H 'Expect: 100-continue' --expect100-timeout 3600 --data-binary "@$file" "$url"
  grep -q '^HTTP/1.1 100' "$work/head" || fail "no 100 Continue came: $(cat "$work/head")"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

refusal_comes_before_the_body() {
  tail -c +8 "$file" >"$work/rest"
  create "$length"
  tus -X PATCH -H 'Upload-Offset: 7' -H 'Content-Type: application/offset+octet-stream' \
    -H 'Expect: 100-continue' --expect100-timeout 3600 --data-binary "@$work/rest" \
    -w '%{size_upload}' "$(location)" >"$work/sent"
  expect "status of PATCH" "$(status)" 409
  expect "bytes sent after a refusal" "$(cat "$work/sent")" 0
}

http_1_0_client_is_served() {
  tus --http1.0 -X POST -H "Upload-Length: $length" "$endpoint"
  expect "status of POST" "$(status)" 201
  local url
  url=$(location)
  tus --http1.0 -X PATCH -H 'Upload-Offset: 0' \
    -H 'Content-Type: application/offset+octet-stream' --data-binary "@$file" "$url"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

chunked_body_is_taken_from_a_pipe() {
  create "$length"
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -T - "$url" <"$file"
  expect "status of PATCH" "$(status)" 204
  expect "Upload-Offset" "$(field Upload-Offset)" "$length"
  expect_stored "$url" "$file"
}

chunked_body_is_taken_from_a_file() {
  create "$length"
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary "@$file" "$url"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

killed_chunked_body_is_kept_and_resumed() {
  local url at pid
  create "$length"
  url=$(location)
  rm -f "$work/pipe"
  mkfifo "$work/pipe"
  curl -sS "${protocol[@]}" --max-time $((deadline - SECONDS)) -X PATCH -H 'Tus-Resumable: 1.0.0' \
    -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -T "$work/pipe" "$url" &
  pid=$!
  exec 3>"$work/pipe"
  # Once this is written, all but the pipe's 64 KiB and curl's own buffer have been sent.
  head -c 3000000 "$file" >&3
  kill -KILL "$pid"
  exec 3>&-
  wait "$pid" 2>/dev/null && fail "curl ended before it was killed"

  at=$(offset "$url")
  ((at > 0)) || fail "the server kept nothing of the killed request"
  ((at <= 3000000)) || fail "the server told $at of 3000000 bytes sent"
  tail -c "+$((at + 1))" "$file" >"$work/rest"
  tus -X PATCH -H "Upload-Offset: $at" -H 'Content-Type: application/offset+octet-stream' \
    --data-binary "@$work/rest" "$url"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

cut_body_is_kept_and_resumed() {
  local url at=0 before code cuts=0
  create "$length"
  url=$(location)
  while ((at < length)); do
    ((SECONDS < deadline)) || fail "the deadline has passed at offset $at"
    dd if="$file" of="$work/rest" bs=1M iflag=skip_bytes skip="$at" status=none
    code=0
    curl -sS "${protocol[@]}" -X PATCH -H 'Tus-Resumable: 1.0.0' -H "Upload-Offset: $at" \
      -H 'Content-Type: application/offset+octet-stream' --data-binary "@$work/rest" \
      --limit-rate 4M --max-time 0.6 -o "$work/body" -w '%{http_code}' "$url" \
      >"$work/code" 2>"$work/error" || code=$?
    # 28 is curl's code for a time-out, here the cut itself.
    expect "curl's exit code ($(cat "$work/error"))" "$code" 0 28
    if ((code == 28)); then cuts=$((cuts + 1)); else expect "status" "$(cat "$work/code")" 204; fi
    before=$at
    at=$(offset "$url")
    ((at >= before)) || fail "the offset went down from $before to $at"
  done
  ((cuts > 0)) || fail "no request was cut, so nothing was tested"
  expect_stored "$url" "$file"
}

endpoint_answers_with_and_without_a_slash() {
  local form
  for form in "${endpoint%/}" "${endpoint%/}/"; do
    tus -X POST -H 'Upload-Length: 0' "$form"
    expect "status of POST $form" "$(status)" 201
    expect_stored "$(location)" /dev/null
  done
}

head_tells_offset_and_length() {
  create "$length"
  tus --head "$(location)"
  expect "status of HEAD" "$(status)" 200 204
  expect "Upload-Offset" "$(field Upload-Offset)" 0
  expect "Upload-Length" "$(field Upload-Length)" "$length"
  expect "Tus-Resumable" "$(field Tus-Resumable)" 1.0.0
  expect "Cache-Control" "$(field Cache-Control)" no-store
}

metadata_comes_back_as_sent() {
  local metadata
  metadata="filename $(printf 'r\xc3\xa9sum\xc3\xa9.pdf' | base64),is_confidential,raw //4AAQ=="
  create 5 -H "Upload-Metadata: $metadata"
  tus --head "$(location)"
  expect "Upload-Metadata" "$(field Upload-Metadata)" "$metadata"
}

zero_bytes_are_complete_at_creation() {
  create 0
  local url
  url=$(location)
  expect "offset" "$(offset "$url")" 0
  expect_stored "$url" /dev/null
}

stale_offset_is_refused() {
  create "$length"
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -d hello "$url"
  expect "status of PATCH" "$(status)" 204
  tus -X PATCH -H 'Upload-Offset: 3' -H 'Content-Type: application/offset+octet-stream' \
    -d hello "$url"
  expect "status of PATCH" "$(status)" 409
  expect "offset" "$(offset "$url")" 5
}

wrong_content_type_is_refused() {
  create "$length"
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -d hello "$url"
  expect "status of PATCH" "$(status)" 415
  expect "offset" "$(offset "$url")" 0
}

right_checksum_is_accepted() {
  create "$length"
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -H "Upload-Checksum: sha1 $(sha1_of "$file")" --data-binary "@$file" "$url"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

wrong_checksum_leaves_no_trace() {
  local url
  head -c 1000000 "$file" >"$work/first"
  tail -c +1000001 "$file" >"$work/rest"
  create "$length"
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    --data-binary "@$work/first" "$url"
  expect "status of PATCH" "$(status)" 204
  tus -X PATCH -H 'Upload-Offset: 1000000' -H 'Content-Type: application/offset+octet-stream' \
    -H "Upload-Checksum: sha1 $(sha1_of "$work/first")" --data-binary "@$work/rest" "$url"
  expect "status of PATCH" "$(status)" 460
  expect "offset" "$(offset "$url")" 1000000
  tus -X PATCH -H 'Upload-Offset: 1000000' -H 'Content-Type: application/offset+octet-stream' \
    -H "Upload-Checksum: sha1 $(sha1_of "$work/rest")" --data-binary "@$work/rest" "$url"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

unknown_checksum_algorithm_is_refused() {
  create 5
  local url
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -H 'Upload-Checksum: none AAAA' -d hello "$url"
  expect "status of PATCH" "$(status)" 400
  expect "offset" "$(offset "$url")" 0
}

creation_carries_the_whole_upload() {
  create "$length" -H 'Content-Type: application/offset+octet-stream' --data-binary "@$file"
  expect "Upload-Offset" "$(field Upload-Offset)" "$length"
  expect_stored "$(location)" "$file"
}

creation_carries_the_first_bytes() {
  local url
  head -c 1000000 "$file" >"$work/first"
  tail -c +1000001 "$file" >"$work/rest"
  create "$length" -H 'Content-Type: application/offset+octet-stream' \
    --data-binary "@$work/first"
  expect "Upload-Offset" "$(field Upload-Offset)" 1000000
  url=$(location)
  tus -X PATCH -H 'Upload-Offset: 1000000' -H 'Content-Type: application/offset+octet-stream' \
    --data-binary "@$work/rest" "$url"
  expect "status of PATCH" "$(status)" 204
  expect_stored "$url" "$file"
}

deferred_length_is_told_later() {
  local url
  tus -X POST -H 'Upload-Defer-Length: 1' "$endpoint"
  expect "status of POST" "$(status)" 201
  url=$(location)
  printf 'hello ' >"$work/expected"
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    --data-binary 'hello ' "$url"
  expect "status of PATCH" "$(status)" 204
  tus --head "$url"
  expect "Upload-Defer-Length" "$(field Upload-Defer-Length)" 1
  expect "Upload-Length" "$(field Upload-Length)" ""
  printf 'world' >>"$work/expected"
  tus -X PATCH -H 'Upload-Offset: 6' -H 'Upload-Length: 11' \
    -H 'Content-Type: application/offset+octet-stream' -d world "$url"
  expect "status of PATCH" "$(status)" 204
  tus --head "$url"
  expect "Upload-Defer-Length" "$(field Upload-Defer-Length)" ""
  expect "Upload-Length" "$(field Upload-Length)" 11
  expect_stored "$url" "$work/expected"
}

two_parts_become_one_upload() {
  local first second final concat
  head -c 1000000 "$file" >"$work/first"
  tail -c +1000001 "$file" >"$work/rest"
  create 1000000 -H 'Upload-Concat: partial'
  first=$(location)
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    --data-binary "@$work/first" "$first"
  expect "status of PATCH" "$(status)" 204
  create $((length - 1000000)) -H 'Upload-Concat: partial' \
    -H 'Content-Type: application/offset+octet-stream' --data-binary "@$work/rest"
  second=$(location)
  tus --head "$second"
  expect "Upload-Concat" "$(field Upload-Concat)" partial

  # One part by its path and one by its whole URL: both forms are in use.
  concat="final;${first#"$origin"} $second"
  tus -X POST -H "Upload-Concat: $concat" "$endpoint"
  expect "status of POST" "$(status)" 201
  final=$(location)
  tus --head "$final"
  expect "Upload-Concat" "$(field Upload-Concat)" "$concat"
  expect "Upload-Length" "$(field Upload-Length)" "$length"
  expect "Upload-Offset" "$(field Upload-Offset)" "$length"
  tus -X PATCH -H "Upload-Offset: $length" -H 'Content-Type: application/offset+octet-stream' \
    -d more "$final"
  expect "status of PATCH to a final upload" "$(status)" 403
  expect_stored "$final" "$file"
}

method_override_takes_the_place_of_patch_and_delete() {
  create 5
  local url
  url=$(location)
  tus -X POST -H 'X-HTTP-Method-Override: PATCH' -H 'Upload-Offset: 0' \
    -H 'Content-Type: application/offset+octet-stream' -d hello "$url"
  expect "status of PATCH" "$(status)" 204
  expect "Upload-Offset" "$(field Upload-Offset)" 5
  tus -X POST -H 'X-HTTP-Method-Override: DELETE' "$url"
  expect "status of DELETE" "$(status)" 204
  tus --head "$url"
  expect "status of HEAD" "$(status)" 404 410
}

deleted_upload_is_gone() {
  create 5 -H 'Content-Type: application/offset+octet-stream' -d hello
  local url
  url=$(location)
  tus -X DELETE "$url"
  expect "status of DELETE" "$(status)" 204
  tus --head "$url"
  expect "status of HEAD" "$(status)" 404 410
  expect "Upload-Offset" "$(field Upload-Offset)" ""
  plain "$url"
  expect "status of GET" "$(status)" 404 410
}

unknown_upload_is_not_found() {
  tus --head "${endpoint%/}/0123456789abcdef0123456789abcdef"
  expect "status of HEAD" "$(status)" 404
  tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' \
    -d hello "${endpoint%/}/0123456789abcdef0123456789abcdef"
  expect "status of PATCH" "$(status)" 404
}

wrong_version_is_refused() {
  create 5
  local url
  url=$(location)
  plain -X POST -H 'Tus-Resumable: 0.2.2' -H 'Upload-Length: 5' "$endpoint"
  expect "status of POST" "$(status)" 412
  expect "Tus-Version" "$(field Tus-Version)" 1.0.0
  plain --head -H 'Tus-Resumable: 0.2.2' "$url"
  expect "status of HEAD" "$(status)" 412
  expect "Tus-Version" "$(field Tus-Version)" 1.0.0
  plain -X PATCH -H 'Tus-Resumable: 0.2.2' -H 'Upload-Offset: 0' \
    -H 'Content-Type: application/offset+octet-stream' -d hello "$url"
  expect "status of PATCH" "$(status)" 412
  expect "Tus-Version" "$(field Tus-Version)" 1.0.0
  expect "offset" "$(offset "$url")" 0
}

range_is_downloaded() {
  local url
  create "$length" -H 'Content-Type: application/offset+octet-stream' --data-binary "@$file"
  url=$(location)
  plain -r 1000000-1999999 "$url"
  expect "status of GET" "$(status)" 206
  expect "Content-Range" "$(field Content-Range)" "bytes 1000000-1999999/$length"
  cmp "$work/body" <(tail -c +1000001 "$file" | head -c 1000000) || fail "the range differs"
  plain -r -1000 "$url"
  expect "status of GET" "$(status)" 206
  cmp "$work/body" <(tail -c 1000 "$file") || fail "the end differs"
  plain -r "$length-" "$url"
  expect "status of GET" "$(status)" 416

  # A download that broke off goes on where it stood.
  head -c 1000000 "$file" >"$work/download"
  curl -sS "${protocol[@]}" --max-time $((deadline - SECONDS)) -C - -o "$work/download" "$url"
  cmp "$work/download" "$file" || fail "the resumed download differs"
}

protocol=(--http1.1)
deadline=180
only=()
except=()
arguments=()
while (($# > 0)); do
  case $1 in
    --list)
      printf '%s\n' "${scenarios[@]}"
      exit
      ;;
    --only | --except)
      if [[ " ${scenarios[*]} " != *" ${2:-} "* ]]; then
        echo "no scenario is named '${2:-}'" >&2
        usage
      fi
      if [[ $1 == --only ]]; then only+=("$2"); else except+=("$2"); fi
      shift
      ;;
    --http2)
      protocol=(--http2-prior-knowledge)
      except+=("${http1_only[@]}")
      ;;
    --deadline)
      deadline=${2:-}
      [[ $deadline =~ ^[0-9]+$ ]] || usage
      shift
      ;;
    -*) usage ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
((${#arguments[@]} == 2)) || usage
endpoint=${arguments[0]}
work=${arguments[1]}
[[ $endpoint =~ ^(https?://[^/]+) ]] || usage
origin=${BASH_REMATCH[1]}

mkdir -p "$work"
rm -rf "$work/failed"
file=$work/source
length=$((5 * 1024 * 1024 + 3))
head -c "$length" /dev/urandom >"$file"

current=start
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
trap 'exit 1' TERM
if ((${#only[@]} == 0)); then only=("${scenarios[@]}"); fi
for current in "${only[@]}"; do
  if [[ " ${except[*]} " == *" $current "* ]]; then continue; fi
  "$current"
  echo "ok $current"
done
