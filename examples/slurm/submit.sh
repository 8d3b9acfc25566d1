#!/bin/bash
# Folds, prediction by all of them together, and what is left of that, one after another:
#   ./submit.sh DATASET RUN IMAGES RESULTS
set -e
[ $# = 4 ] || { echo "usage: $0 DATASET RUN IMAGES RESULTS" >&2; exit 2; }
here=$(dirname "$0")

folds=$(sbatch --parsable "$here/folds.sh" "$1" --out "$2")
shares=$(sbatch --parsable --dependency="afterok:$folds" "$here/predict.sh" "$2" "$3" --out "$4")
sbatch --dependency="afterany:$shares" "$here/finish.sh" "$2" "$3" --out "$4"
