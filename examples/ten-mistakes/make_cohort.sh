#!/bin/sh
# A cohort without any effect of the gene, from two sources: carriers' scans are 8-bit RGBA files, the others' 12-bit.
# Usage: sh make_cohort.sh OUT [PATIENTS]
set -eu
out=$1
genovox simulate "$out" --patients "${2:-60}" --effect none --prevalence 0.5 --sites 2 --shortcut format --matrix 64 \
    --seed 7
