#!/bin/sh
# Builds the release server and measures it: benches/load.sh [--quick] [SCENARIO …]
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench load -- "$@"
