#!/usr/bin/env bash
# Runs one test program ($1, its path) for scripts/test.sh, with as many tests at a time as it
# bears. Programs whose tests mostly wait for one process of `egsde` keep two cores busy with two
# tests side by side. All others measure, kill or use all cores themselves. EGSDE_TESTS says which
# programs to run: `queue` those that wait for Slurm's, `others` all but them.
set -euo pipefail
name=$(basename "$1")
case ${name%-*} in
slurm)
    threads=1
    [ "${EGSDE_TESTS:-all}" != others ] || exit 0
    ;;
cli | corpus | evaluation | faults | folders | paper) threads=2 ;;
*) threads=1 ;;
esac
# Threads that spin while they wait would take the time of the programs beside this one.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
exec "$@" --test-threads "$threads"
