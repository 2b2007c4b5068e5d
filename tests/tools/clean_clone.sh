#!/usr/bin/env bash
# A stranger's first minutes: clone, `make start`, every command of the README in a second terminal, Ctrl-C.
# Needs PyPI, and port 7443. Usage: tests/tools/clean_clone.sh [MAKE-VARIABLE=VALUE...], such as PYTHON=python3.13
set -euo pipefail
set -m # background jobs get a process group of their own, and do not ignore Ctrl-C

repository=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/tlsrt-clean-clone.XXXXXX")
chmod 0755 "$folder"
console=$folder/console
job=

finish() {
    local code=$?
    [ -z "$job" ] || kill -KILL -- "-$job" 2>/dev/null || true
    [ $code = 0 ] || { echo "-- console"; cat "$console" 2>/dev/null || true; }
    rm -rf "$folder"
    exit $code
}
trap finish EXIT

wait_for() { # PATTERN: wait until a line of the console matches; fails when the job has ended without it
    until grep --quiet --extended-regexp "$1" "$console"; do
        kill -0 "$job" 2>/dev/null || return 1
        sleep 0.1
    done
}

git -c safe.directory='*' clone --quiet "$repository" "$folder/tlsrt"
cd "$folder/tlsrt"
make help >/dev/null

touch "$console"
make start "$@" >"$console" 2>&1 &
job=$!
wait_for '^ready ' || { echo "make start ended before it was ready"; exit 1; }

export PATH="$PWD/.venv/bin:$PATH"
commands=$(sed -n '/^In a second terminal/,/^Ctrl-C/p' README.md | grep -E '^(tlsrt|tlsrt-supervisor) ')
[ "$(wc -l <<<"$commands")" -ge 9 ] || { echo "README.md: where are the commands of the second terminal?"; exit 1; }
while read -r command; do
    echo "\$ $command"
    case $command in
    "tlsrt-supervisor top"* | *--follow*) # goes on until Ctrl-C
        code=0
        timeout --preserve-status --signal=INT --kill-after=10 3 bash -c "exec $command" </dev/null || code=$?
        [ $code = 0 ] || [ $code = 130 ] || { echo "it ended with $code and not by Ctrl-C"; exit 1; }
        ;;
    *) bash -c "$command" </dev/null ;;
    esac
done <<<"$commands"

code=0
said=$(tlsrt call secondary/store gett greeting 2>&1) || code=$?
[ $code != 0 ] && [ "$(wc -l <<<"$said")" = 1 ] || { echo "a wrong method is no one sentence: $said"; exit 1; }

kill -INT -- "-$job"
wait "$job" || true
job=
grep --quiet '^supervisor stopped' "$console" || { echo "Ctrl-C did not stop everything in order"; exit 1; }
[ -z "$(git status --porcelain)" ] || { echo "these are neither tracked nor ignored:"; git status --short; exit 1; }

make start "$@" >"$console" 2>&1 & # what is there is used again, and nothing is installed
job=$!
wait_for '^ready ' || { echo "the second make start ended before it was ready"; exit 1; }
[ "$(tlsrt call secondary/store get greeting)" = hello ] || { echo "the store forgot"; exit 1; }
tlsrt-supervisor stop
wait "$job"
job=
echo "clean clone: good"
