/** A Slurm of one node on this machine: its own configuration, keys, ports and folder, gone when it is disposed of. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The node says that it has CPUs and GPUs enough, so that job scripts of a cluster run as they are. */
const configuration = (folder: string, host: string, [controller, node]: readonly number[]): string => `
ClusterName=loopback
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${controller}
SlurmdPort=${node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=${folder}/munge.socket
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=5
NodeName=${host} NodeAddr=127.0.0.1 CPUs=16 Gres=gpu:4
PartitionName=all Nodes=${host} Default=YES State=UP
`;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again until there is an answer. @throws Error after five minutes, before the test is given up */
export async function until<T>(
  what: string | (() => string),
  ask: () => Promise<T | undefined | false>,
): Promise<T> {
  for (const begun = performance.now(); performance.now() - begun < 300_000; await pause(100)) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
  }
  throw new Error(`waited in vain until ${typeof what === 'string' ? what : what()}`);
}

/** A port that nobody has. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class LoopbackSlurm implements AsyncDisposable {
  readonly #daemons: ChildProcess[] = [];

  private constructor(
    readonly folder: string,
    readonly env: NodeJS.ProcessEnv,
  ) {}

  /** @param env of the jobs besides this process's */
  static async start(env: NodeJS.ProcessEnv = {}): Promise<LoopbackSlurm> {
    const folder = await mkdtemp(join(tmpdir(), 'unet3d-slurm-'));
    const host = hostname().split('.')[0]!;
    const config = join(folder, 'slurm.conf');
    for (const name of ['state', 'spool']) await mkdir(join(folder, name));
    await writeFile(join(folder, 'munge.key'), randomBytes(1024), { mode: 0o400 });
    await writeFile(config, configuration(folder, host, [await freePort(), await freePort()]));
    const gpus = ['null', 'zero', 'full', 'random'].map((name) => `Name=gpu File=/dev/${name}\n`);
    await writeFile(join(folder, 'gres.conf'), gpus.join(''));
    await chmod(folder, 0o755);
    const path = `${process.env['PATH'] ?? ''}:/usr/sbin`;
    const slurm = new LoopbackSlurm(folder, { ...process.env, PATH: path, SLURM_CONF: config, ...env });
    const own = ['key-file=munge.key', 'socket=munge.socket', 'pid-file=munged.pid', 'log-file=munged.log'];
    const options = [...own, 'seed-file=munge.seed'].map(
      (option) => `--${option.replace('=', `=${folder}/`)}`,
    );
    try {
      slurm.#daemon('munged', '--foreground', '--force', ...options);
      await until('munged answers', () => Promise.resolve(existsSync(join(folder, 'munge.socket'))));
      slurm.#daemon('slurmctld', '-D', '-f', config);
      slurm.#daemon('slurmd', '-D', '-f', config);
      await until('the node is idle', async () =>
        /^idle/.test(await slurm.run('sinfo', '-h', '-o', '%T').catch(() => '')),
      );
      return slurm;
    } catch (error) {
      await slurm[Symbol.asyncDispose]();
      throw error;
    }
  }

  #daemon(name: string, ...args: readonly string[]): void {
    const child = spawn(name, args, { env: this.env, stdio: 'ignore', cwd: this.folder });
    child.on('error', () => undefined); // nothing will answer
    this.#daemons.push(child);
  }

  /** What a command prints. */
  async run(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(command, args, { env: this.env, cwd: this.folder });
    return stdout.trim();
  }

  /** Submits a script; its output goes into the folder. @returns the number of the job */
  submit(...args: readonly string[]): Promise<string> {
    return this.run('sbatch', '--parsable', ...args);
  }

  /** A field of a job or of a task of an array, such as RUNNING of its JobState. */
  async #field(job: string, field: string): Promise<string> {
    return new RegExp(`${field}=(\\w+)`).exec(await this.run('scontrol', 'show', 'job', job))?.[1] ?? '';
  }

  /** State of a job or a task of an array, such as RUNNING. */
  state(job: string): Promise<string> {
    return this.#field(job, 'JobState');
  }

  /**
   * Waits for a state. On the way there, a job that was requeued is not kept waiting for the two minutes that Slurm gives
   * it, but for as long as it needs: what was revoked and what is granted within one second is taken for revoked.
   */
  async reaches(job: string, wanted: string): Promise<void> {
    let [last, isHurried] = ['', false];
    const what = (): string => `job ${job} is ${wanted}; it was ${last}`;
    await until(what, async () => {
      last = await this.state(job);
      if (last === wanted) return true;
      if (last !== 'PENDING') isHurried = false;
      else if (!isHurried && (await this.#field(job, 'Reason')) === 'BeginTime') {
        await this.run('scontrol', 'update', `JobId=${job}`, 'StartTime=now+2');
        isHurried = true;
      }
      if (['FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL'].includes(last))
        throw new Error(`job ${job} is ${last}\n${await this.logs()}`);
      return false;
    });
  }

  /** What the jobs have printed. */
  async logs(): Promise<string> {
    const names = (await this.run('find', '.', '-maxdepth', '1', '-name', '*.txt'))
      .split('\n')
      .filter(Boolean);
    const texts = names
      .sort()
      .map(async (name) => `${name}:\n${await readFile(join(this.folder, name), 'utf8')}`);
    return (await Promise.all(texts)).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run('scancel', '--full', '--user=root').catch(() => '');
    const isBusy = async () => (await this.run('squeue', '-h').catch(() => '')) !== '';
    for (let wait = 0; wait < 100 && (await isBusy()); wait++) await pause(100);
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = new Promise((resolve) => daemon.once('close', resolve));
      daemon.kill('SIGTERM');
      const hard = setTimeout(() => daemon.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(hard);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
