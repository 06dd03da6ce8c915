#!/usr/bin/env bash
# Builds the release server and measures it: benches/load.sh [--quick] [SCENARIO …]
#
# Scenarios on PostgreSQL get a server of their own that loses nothing when the machine stops (see tests/postgres.sh, which
# installs PostgreSQL if it is missing), or the one that FANFARE_TEST_POSTGRES names. Without one they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

wants_postgres() { # wants_postgres [--quick] [SCENARIO …]
    local argument named=no
    for argument in "$@"; do
        case $argument in
        *-postgres*) return 0 ;;
        --*) ;;
        *) named=yes ;;
        esac
    done
    [ "$named" = no ]
}

bench=(cargo bench --quiet --bench load)
# Built first: the database would only be in the way.
"${bench[@]}" --no-run
if wants_postgres "$@"; then
    export FANFARE_POSTGRES_FSYNC=on
    if tests/postgres.sh true; then
        pgbench=$(find /usr/lib/postgresql/*/bin /usr/pgsql-*/bin -maxdepth 1 -name pgbench 2>/dev/null | sort -V | tail -n 1 || true)
        FANFARE_LOAD_PGBENCH=${pgbench:-pgbench} exec tests/postgres.sh "${bench[@]}" -- "$@"
    fi
    echo "benches/load.sh: no PostgreSQL; what is measured on it is SKIPPED" >&2
fi
exec "${bench[@]}" -- "$@"
