/**
 * MPI through its C library, which the system or the cluster brings, called by the optional package `koffi`. Two binary
 * interfaces are known: Open MPI's, whose handles are addresses of objects in the library, and that of MPICH, Intel MPI,
 * MVAPICH and Cray, whose handles are numbers (both from the libraries' mpi.h).
 */
import { UNet3DError } from '../errors.ts';
import { launchOf, type Launch } from './launch.node.ts';
import { meet, type Ranks } from './ranks.ts';

/** Ranks of MPI. */
export interface MpiRanks extends Ranks {
  /** The library, in words. */
  readonly library: string;
  /** Waits for all ranks to come here, and leaves MPI. */
  finish(): Promise<void>;
  /** Ends every process of all ranks, this one included, with that exit code. */
  abort(exitCode: number): never;
}

/** Names of the libraries, those of Open MPI first. */
const openMpi = ['libmpi.so.40', 'libmpi.so', 'libmpi.40.dylib'];
const mpich = ['libmpich.so.12', 'libmpi.so.12', 'libmpi_cray.so.12', 'libmpi.12.dylib'];

/** In the environment: the library to load. */
const libraryVariable = 'UNET3D_MPI';

/** What numbers stand for in MPICH's mpi.h, by the names of Open MPI's objects. */
const mpichHandles = {
  ompi_mpi_comm_world: 0x44000000,
  ompi_mpi_byte: 0x4c00010d,
  ompi_mpi_float: 0x4c00040a,
  ompi_mpi_double: 0x4c00080b,
  ompi_mpi_op_sum: 0x58000003,
};
type HandleName = keyof typeof mpichHandles;

/** MPI_THREAD_SERIALIZED: calls come from different threads, one at a time. */
const serialized = 2;

/** Elements of one call at most; MPI counts in 32 bits. */
const largestCount = 2 ** 28;

/** MPICH takes more than koffi's 128 KiB. */
const stackBytes = 4 * 2 ** 20;

type Koffi = typeof import('koffi').default;
type Library = ReturnType<Koffi['load']>;
type Call = ((...values: unknown[]) => unknown) & {
  async(...values: [...unknown[], (error: Error | null, code: number) => void]): void;
};

let joined: Promise<MpiRanks> | undefined;
/** MPI is left for good. */
let isLeft = false;

/**
 * Joins the processes that mpirun, mpiexec or srun has started with this one; once in a process. Of several adapters in
 * `UNET3D_ADAPTER`, each process of a machine takes the one at its place.
 * @returns undefined for a process by itself, for which MPI is not touched
 * @throws UNet3DError without koffi or an MPI library, where that library does not see the other processes, or after `finish`
 * @example
 * ```js
 * const ranks = await joinRanks(); // undefined without mpirun
 * await model.fit(cases, { epochs: 1, ranks });
 * ```
 */
export async function joinRanks(): Promise<MpiRanks | undefined> {
  const launch = launchOf();
  if (!launch) return undefined;
  if (isLeft)
    throw new UNet3DError(
      'these ranks have left MPI by finish(), and a process joins it once: call finish() when all work is done',
    );
  takeAdapter(launch.localRank ?? launch.rank);
  return (joined ??= join(launch));
}

function takeAdapter(place: number): void {
  const names = (process.env['UNET3D_ADAPTER'] ?? '').split(',');
  if (names.length > 1) process.env['UNET3D_ADAPTER'] = names[place % names.length]!.trim();
}

async function join(launch: Launch): Promise<MpiRanks> {
  const koffi = await loadKoffi(launch);
  const { library, name } = loadLibrary(koffi, launch);
  const isOpenMpi = hasSymbol(library, 'ompi_mpi_comm_world');
  const handle = (of: HandleName): unknown => (isOpenMpi ? library.symbol(of) : mpichHandles[of]);
  const H = isOpenMpi ? 'void *' : 'int';
  const inPlace = isOpenMpi ? 1 : -1;
  const call = (declaration: string): Call => library.func(declaration) as Call;
  const world = handle('ompi_mpi_comm_world');

  const provided = [0];
  call('int MPI_Init_thread(void *, void *, int, _Out_ int *)')(null, null, serialized, provided);
  const asked = (what: 'rank' | 'size'): number => {
    const value = [0];
    call(`int MPI_Comm_${what}(${H}, _Out_ int *)`)(world, value);
    return value[0]!;
  };
  const abortAll = call(`int MPI_Abort(${H}, int)`);
  const finalize = call('int MPI_Finalize()');
  const allreduce = call(`int MPI_Allreduce(intptr_t, void *, int, ${H}, ${H}, ${H})`);
  const bcast = call(`int MPI_Bcast(void *, int, ${H}, int, ${H})`);
  const [rank, size] = [asked('rank'), asked('size')];
  if (size !== launch.size) {
    finalize();
    throw new UNet3DError(
      `${launch.by} has started ${launch.size} processes, but the MPI library ${name} sees ${size}: name the library of ` +
        `that mpirun in ${libraryVariable}, or start with the mpirun of this library` +
        (launch.by === 'srun'
          ? '; srun must speak to it, too: --mpi=pmix for Open MPI, --mpi=pmi2 for MPICH'
          : ''),
    );
  }
  if (provided[0]! < serialized) {
    finalize();
    throw new UNet3DError(
      `the MPI library ${name} was built without support of threads (level ${provided[0]} of MPI_THREAD_SERIALIZED): use one with it`,
    );
  }

  // One call at a time, in the order in which they are made, on a thread that is not JavaScript's.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (what: string, callee: Call, ...values: unknown[]): Promise<void> => {
    const done = last.then(
      () =>
        new Promise<void>((resolve, reject) => {
          callee.async(...values, (error, code) => {
            if (error) reject(error);
            else if (code !== 0)
              reject(new UNet3DError(`${what} of the MPI library ${name} failed with code ${code}`));
            else resolve();
          });
        }),
    );
    last = done.catch(() => undefined);
    return done;
  };
  const [float, double, byte] = [
    handle('ompi_mpi_float'),
    handle('ompi_mpi_double'),
    handle('ompi_mpi_byte'),
  ];
  const plus = handle('ompi_mpi_op_sum');
  const ranks: MpiRanks = {
    rank,
    size,
    library: name,
    async sum(values) {
      const type = values instanceof Float32Array ? float : double;
      for (const part of parts(values))
        await inTurn('MPI_Allreduce', allreduce, inPlace, part, part.length, type, plus, world);
    },
    async broadcast(bytes, root) {
      for (const part of parts(bytes)) await inTurn('MPI_Bcast', bcast, part, part.length, byte, root, world);
    },
    async finish() {
      await meet(ranks);
      isLeft = true;
      finalize(); // on the thread that has called MPI_Init_thread
    },
    abort(exitCode) {
      abortAll(world, exitCode);
      process.exit(exitCode); // where the library comes back
    },
  };
  return ranks;
}

/** An array in parts that one call takes. */
function* parts<T extends { readonly length: number; subarray(from: number, to: number): T }>(
  values: T,
): Generator<T> {
  for (let from = 0; from < values.length; from += largestCount)
    yield values.subarray(from, Math.min(values.length, from + largestCount));
}

async function loadKoffi({ by, size }: Launch): Promise<Koffi> {
  try {
    const { default: koffi } = await import('koffi');
    koffi.config({ async_stack_size: stackBytes });
    return koffi;
  } catch (cause) {
    throw new UNet3DError(
      `${by} has started ${size} processes; to train together they need the optional package "koffi", which calls MPI: ` +
        'npm install koffi',
      { cause },
    );
  }
}

function loadLibrary(koffi: Koffi, { by, size }: Launch): { library: Library; name: string } {
  const named = process.env[libraryVariable];
  const names = named ? [named] : by.startsWith('MPICH') ? [...mpich, ...openMpi] : [...openMpi, ...mpich];
  for (const name of names)
    try {
      // What the library loads itself looks for its symbols.
      const library = koffi.load(name, { global: true });
      if (hasSymbol(library, 'MPI_Init_thread')) return { library, name };
    } catch {
      // The next one.
    }
  throw new UNet3DError(
    `${by} has started ${size} processes, but no MPI library is found (${names.join(', ')}): install Open MPI or MPICH ` +
      `(on Debian and Ubuntu: apt install libopenmpi3), load the cluster's module, or name its file in ${libraryVariable}`,
  );
}

function hasSymbol(library: Library, name: string): boolean {
  try {
    library.symbol(name);
    return true;
  } catch {
    return false;
  }
}
