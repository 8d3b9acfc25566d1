#!/bin/bash
# The volumes of a folder in forty shares, each a task of the array:
#   sbatch predict.sh MODEL IMAGES --out RESULTS [options of predict]
#SBATCH --job-name=predict
#SBATCH --array=1-40
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --time=02:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.txt

srun unet3d-gpu predict "$@" --shard auto
code=$?
[ $code = 138 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" # the rest of the share
exit $code
