# What every scenario of suite.sh needs. Expects $endpoint, $origin, $work, $deadline, $current and
# the array $protocol.

# curl with the protocol's version; the answer's head goes to $work/head, its body to $work/body.
tus() {
  plain -H 'Tus-Resumable: 1.0.0' "$@"
}

plain() {
  local left=$((deadline - SECONDS))
  if ((left <= 0)); then
    fail "the deadline has passed"
  fi
  : >"$work/head"
  : >"$work/body"
  curl -sS "${protocol[@]}" --max-time "$left" -D "$work/head" -o "$work/body" "$@"
}

# The status of the last answer; interim answers stand before it in the same file.
status() {
  awk '/^HTTP\// { code = $2 } END { print code }' "$work/head"
}

# The value of a field of the last answer, or nothing.
field() {
  awk -v name="$1" '
    /^HTTP\// { value = "" }
    { at = index($0, ":") }
    at && tolower(substr($0, 1, at - 1)) == tolower(name) {
      value = substr($0, at + 1)
      gsub(/^[ \t]+|[ \t\r]+$/, "", value)
    }
    END { print value }' "$work/head"
}

# The URL of the upload that the last answer created.
location() {
  local url
  url=$(field Location)
  case $url in
    http://* | https://*) echo "$url" ;;
    /*) echo "$origin$url" ;;
    *) fail "no usable Location: '$url'" ;;
  esac
}

fail() {
  # A failure in a subshell ends the whole suite, and only the first one speaks.
  if mkdir "$work/failed" 2>/dev/null; then echo "not ok $current: $1" >&2; fi
  kill -TERM $$
  exit 1
}

expect() {
  local what=$1 got=$2 expected
  shift 2
  for expected; do
    if [[ $got == "$expected" ]]; then return; fi
  done
  fail "$what is '$got', expected '$*'$(printf '\n'; cat "$work/head" "$work/body")"
}

expect_in_list() {
  [[ ,$(field "$1"), == *",$2,"* ]] || fail "$1 is '$(field "$1")', without $2"
}

create() {
  tus -X POST -H "Upload-Length: $1" "${@:2}" "$endpoint"
  expect "status of POST" "$(status)" 201
}

# Asks for the offset, as anyone does who resumes.
offset() {
  tus --head "$1"
  expect "status of HEAD" "$(status)" 200 204
  field Upload-Offset
}

expect_stored() {
  plain "$1"
  expect "status of GET" "$(status)" 200
  cmp "$work/body" "$2" || fail "the stored bytes differ from the source"
}

sha1_of() {
  printf "$(sha1sum "$1" | cut -c1-40 | sed 's/../\\x&/g')" | base64
}
