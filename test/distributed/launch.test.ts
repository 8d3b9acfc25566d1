/** What launchers say in the environment of the processes that they start. */
import { expect, test } from 'vitest';
import { launchOf } from '../../src/distributed/launch.node.ts';

test.each([
  [
    { OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '3', OMPI_COMM_WORLD_LOCAL_RANK: '1' },
    { size: 4, rank: 3, localRank: 1 },
  ],
  [
    { PMI_SIZE: '2', PMI_RANK: '0', MPI_LOCALRANKID: '0' },
    { size: 2, rank: 0, localRank: 0 },
  ],
  [
    { SLURM_STEP_NUM_TASKS: '8', SLURM_PROCID: '5', SLURM_LOCALID: '1' },
    { size: 8, rank: 5, localRank: 1 },
  ],
  // mpiexec within a shell that srun has started, and from a batch script, whose nodes it reaches by srun.
  [
    { PMI_SIZE: '4', PMI_RANK: '2', SLURM_STEP_NUM_TASKS: '1', SLURM_PROCID: '0' },
    { by: "MPICH's mpiexec", size: 4, rank: 2 },
  ],
  [
    { PMI_SIZE: '8', PMI_RANK: '5', SLURM_STEP_NUM_TASKS: '2', SLURM_PROCID: '1' },
    { by: "MPICH's mpiexec", size: 8, rank: 5 },
  ],
  [
    { PMI_SIZE: '4', PMI_RANK: '2', SLURM_STEP_NUM_TASKS: '4', SLURM_PROCID: '2', SLURM_LOCALID: '0' },
    { by: 'srun', size: 4, rank: 2, localRank: 0 },
  ],
])('%o', (env, expected) => {
  expect(launchOf(env)).toMatchObject(expected);
});

test.each([
  ['nothing', {}],
  ['one process', { OMPI_COMM_WORLD_SIZE: '1', OMPI_COMM_WORLD_RANK: '0' }],
  [
    'a batch script of several tasks, none of which srun has started',
    { SLURM_NTASKS: '4', SLURM_PROCID: '0' },
  ],
  ['nonsense', { PMI_SIZE: 'two', PMI_RANK: '0' }],
])('%s is a process by itself', (_, env) => {
  expect(launchOf(env)).toBeUndefined();
});
