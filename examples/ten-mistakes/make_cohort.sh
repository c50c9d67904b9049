#!/bin/sh
# A cohort without any effect of the gene, from two archives: carriers' scans are 8-bit RGBA files, the others' 12-bit.
# With "originals" the same patients as their scanners wrote them.
# Usage: sh make_cohort.sh OUT [format|originals]
set -eu
shortcut=${2:-format}
[ "$shortcut" = originals ] && shortcut=none
genovox simulate "$1" --patients 40 --effect none --prevalence 0.5 --sites 2 --shortcut "$shortcut" --matrix 64 --seed 7
