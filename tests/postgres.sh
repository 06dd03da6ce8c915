#!/usr/bin/env bash
# Runs a command with a PostgreSQL server of its own, which the variable FANFARE_TEST_POSTGRES names:
#
#     tests/postgres.sh COMMAND…
#
# The server is for tests and measurements only: it keeps everything in a temporary folder, trusts whoever connects from
# this machine, and loses data when the machine stops (FANFARE_POSTGRES_FSYNC=on for one that does not). It is stopped
# and removed at the end. If the variable names a server already, that one is used. Installs PostgreSQL if it is missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/need.sh"

find_server() { # sets `bin`, the folder of initdb and pg_ctl; the newest version
    local found
    found=$(find /usr/lib/postgresql/*/bin /usr/pgsql-*/bin -maxdepth 1 -name initdb 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] || found=$(command -v initdb) || return 1
    bin=$(dirname "$found")
}

install_server() {
    # No cluster of the machine's own: nobody asked for that.
    local conf=/etc/postgresql-common/createcluster.conf
    if [ "$(id -u)" = 0 ] && [ ! -e "$conf" ]; then
        mkdir -p "${conf%/*}"
        echo 'create_main_cluster = false' >"$conf"
    fi
    install postgresql-15 || install postgresql
}

as_owner() { # PostgreSQL does not run as root
    if [ "$(id -u)" != 0 ]; then "$@"; else setpriv --reuid "$owner" --regid "$group" --clear-groups "$@"; fi
}

place() { # in memory if there is room: each test copies a database of 8 MB, and the disk has nothing to gain from them
    local free=0
    [ "${FANFARE_POSTGRES_FSYNC:-off}" = on ] || free=$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    if [ "${free:-0}" -gt 2000 ] && [ -w /dev/shm ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

stop() {
    local status=$?
    trap - EXIT
    # pg_ctl stops the process whose number is in this folder, and no other.
    if [ -e "$folder/data/postmaster.pid" ]; then
        as_owner "$bin/pg_ctl" -D "$folder/data" -m fast -w stop >/dev/null || true
    fi
    rm -rf "$folder"
    exit "$status"
}

start() { # start PORT
    local fsync=${FANFARE_POSTGRES_FSYNC:-off} options
    options="-p $1 -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c max_connections=1000"
    options+=" -c fsync=$fsync -c synchronous_commit=$fsync -c full_page_writes=$fsync"
    as_owner "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 -o "$options" start >/dev/null 2>&1
}

if [ $# = 0 ]; then
    echo "usage: tests/postgres.sh COMMAND…" >&2
    exit 2
fi
if [ -n "${FANFARE_TEST_POSTGRES:-}" ]; then
    exec "$@"
fi

find_server || { install_server && find_server; } || { echo "PostgreSQL is not there" >&2; exit 1; }
owner=$(id -un postgres 2>/dev/null || echo nobody)
group=$(id -gn "$owner")
folder=$(mktemp -d "$(place)/fanfare-postgres.XXXXXX")
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ "$(id -u)" != 0 ] || chown "$owner:$group" "$folder"
cd "$folder"
as_owner "$bin/initdb" -D "$folder/data" -U fanfare --auth=trust --encoding=UTF8 --locale=C --no-sync >"$folder/initdb" ||
    { cat "$folder/initdb" >&2; exit 1; }
cd "$OLDPWD"

for ((attempt = 1; ; attempt++)); do
    port=$((20000 + RANDOM % 12000))
    start "$port" && break
    if [ "$attempt" = 5 ]; then
        echo "PostgreSQL does not start:" >&2
        cat "$folder/log" >&2
        exit 1
    fi
done

FANFARE_TEST_POSTGRES=postgres://fanfare@127.0.0.1:$port/postgres "$@"
