#!/bin/bash
# One training on four GPUs, which share the batches of every step:
#   sbatch ranks.sh DATASET --out RUN [options of train]
#SBATCH --job-name=ranks
#SBATCH --nodes=1
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x.txt

# As the MPI of this cluster asks for: srun --mpi=list shows what there is.
srun --mpi=pmix unet3d-gpu train "$@" --continue
code=$?
[ $code = 138 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
