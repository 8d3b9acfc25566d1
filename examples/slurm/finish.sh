#!/bin/bash
# What the shares have left, if anything; ends with 0 when every volume is segmented. Given what predict.sh was given:
#   sbatch finish.sh MODEL IMAGES --out RESULTS [options of predict]
#SBATCH --job-name=finish
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --time=02:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x.txt

srun unet3d-gpu predict "$@" --continue
code=$?
[ $code = 138 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
