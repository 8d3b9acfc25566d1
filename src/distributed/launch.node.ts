/** Whether this process is one of several that mpirun, mpiexec or srun has started, as their environment says. */

/** How a process was started together with others. */
export interface Launch {
  /** What has started it, in words. */
  readonly by: string;
  /** Processes in all; more than one. */
  readonly size: number;
  /** This one among them. */
  readonly rank: number;
  /** This one among those of its machine, where that is told. */
  readonly localRank: number | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Variables of each launcher, one that may have been started by another before it: mpiexec within a step of srun leaves that
 * one's to its processes. Those of srun are of the step: a batch script has SLURM_NTASKS too, though nobody has started it
 * several times.
 */
const srun = {
  by: 'srun',
  size: 'SLURM_STEP_NUM_TASKS',
  rank: 'SLURM_PROCID',
  local: 'SLURM_LOCALID',
} as const;

const launchers = [
  {
    by: "Open MPI's mpirun",
    size: 'OMPI_COMM_WORLD_SIZE',
    rank: 'OMPI_COMM_WORLD_RANK',
    local: 'OMPI_COMM_WORLD_LOCAL_RANK',
  },
  { by: "MPICH's mpiexec", size: 'PMI_SIZE', rank: 'PMI_RANK', local: 'MPI_LOCALRANKID' },
  srun,
] as const;

/** @returns undefined for a process by itself */
export function launchOf(env: Environment = process.env): Launch | undefined {
  const number = (name: string): number | undefined => {
    const text = env[name] ?? '';
    return /^\d+$/.test(text) ? Number(text) : undefined;
  };
  for (const { by, ...names } of launchers) {
    const [size, rank] = [number(names.size), number(names.rank)];
    if (size === undefined || rank === undefined) continue;
    // With --mpi=pmi2 srun sets them, too.
    const isOfSrun = size === number(srun.size) && rank === number(srun.rank);
    if (by !== srun.by && isOfSrun) continue;
    return size > 1 ? { by, size, rank, localRank: number(names.local) } : undefined;
  }
  return undefined;
}
