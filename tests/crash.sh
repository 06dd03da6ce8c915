#!/bin/sh
# What is promised under failure, tried at length with the release build: tests/crash.sh [ROUNDS [SECONDS]]
#
#   ROUNDS   kills in each trial, 1 to 500; 20 without it
#   SECONDS  longest time between two kills, 1 to 30; 2 without it
#
# Kills one node on SQLite, and either of two on PostgreSQL, while pushes are accepted; takes the database away for 20 s;
# fills the disk for 20 s; lets 10,000 revocations race with the deliveries on each database. Everything is on loopback
# and in temporary folders. FANFARE_TEST_PROGRAM names another binary to try; PROFILE= (empty) takes the debug build. The
# trials on PostgreSQL need its server's programs, and say so if there are none.
set -eu
cd "$(dirname "$0")/.."

rounds=${1:-20}
seconds=${2:-2}
between() { # between NAME VALUE LEAST MOST
    case $2 in '' | *[!0-9]*) echo "$1 must be a number, not '$2'" >&2; exit 2 ;; esac
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        echo "$1 must be from $3 to $4, not $2" >&2
        exit 2
    fi
}
between ROUNDS "$rounds" 1 500
between SECONDS "$seconds" 1 30

# The races need a server that the suite makes its databases on.
if [ -z "${FANFARE_TEST_POSTGRES:-}" ] && [ -x tests/postgres.sh ]; then
    exec tests/postgres.sh "$0" "$rounds" "$seconds"
fi

export FANFARE_CRASH_ROUNDS="$rounds" FANFARE_CRASH_SECONDS="$seconds"
export FANFARE_OUTAGE_SECONDS="${FANFARE_OUTAGE_SECONDS:-20}" FANFARE_RACES="${FANFARE_RACES:-10000}"
profile=${PROFILE---release}
# shellcheck disable=SC2086 # no word is one, too
cargo test $profile --test it --no-run
# Kills, and what each start takes, on two databases; and ten minutes for all else.
# shellcheck disable=SC2086
exec timeout $((2 * rounds * (seconds + 15) + 600)) \
    cargo test $profile --test it -- crash:: outage:: full_disk:: revoke_race:: \
    --include-ignored --nocapture --test-threads=1
