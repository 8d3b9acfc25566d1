/** What tests of clusters run on, by the programs that they start. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface Engine {
  readonly name: string;
  readonly programs: readonly string[];
  /** Of Debian and Ubuntu. */
  readonly packages: readonly string[];
}

export const openMpi: Engine = {
  name: 'Open MPI',
  programs: ['mpirun.openmpi'],
  packages: ['openmpi-bin'],
};

export const mpich: Engine = { name: 'MPICH', programs: ['mpirun.mpich'], packages: ['mpich'] };

/** Started by the tests, on this machine alone. */
export const slurm: Engine = {
  name: 'Slurm',
  programs: ['munged', 'slurmctld', 'slurmd', 'sbatch', 'srun'],
  packages: ['slurm-wlm', 'munge', 'libpmix-dev'], // with which srun starts the ranks of Open MPI
};

export const engines: readonly Engine[] = [openMpi, mpich, slurm];

const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];

export const isHere = ({ programs }: Engine): boolean =>
  programs.every((program) => folders.some((folder) => existsSync(join(folder, program))));
