#!/bin/bash
# The five folds of a cross-validation, each on a GPU of its own:
#   sbatch folds.sh DATASET --out RUN [options of train]
#SBATCH --job-name=folds
#SBATCH --array=0-4
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.txt

srun unet3d-gpu train "$@" --fold auto
code=$?
# 138: a checkpoint was saved as the time limit came near. The number of the array and the task's own: of the last
# task, SLURM_JOB_ID is that of the whole array.
[ $code = 138 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
exit $code
