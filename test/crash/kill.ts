/** Kills trainings of the command line with SIGKILL and lets them go on, until one comes to its end. */
import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { random } from '../../src/data/random.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';

/** When a process is killed: soon after a step, or when a checkpoint is next touched on the disk after it. */
interface Moment {
  readonly step: number;
  readonly writing: boolean;
  readonly delayMs: number;
}

export interface Death extends Moment {
  /** Files that show that it died while it wrote a checkpoint. */
  readonly half: readonly string[];
}

/** A process on the adapter of this one; resolves to its exit code, or undefined if it was killed at `moment`. */
function train(
  [node, ...main]: readonly [string, ...string[]],
  args: readonly string[],
  out: string,
  moment?: Moment,
): Promise<number | undefined> {
  const child = spawn(node, [...main, 'train', '--out', out, '--json', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const watcher = watch(out, (_, file) => {
    if (armed && moment?.writing && file?.startsWith(checkpointName)) kill();
  });
  let armed = false;
  const kill = (): void => {
    setTimeout(() => child.kill('SIGKILL'), moment?.delayMs ?? 0);
  };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = JSON.parse(line) as { type: string; step?: number };
      if (armed || !moment || event.type !== 'step' || event.step! < moment.step) continue;
      armed = true;
      if (!moment.writing) kill();
    }
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      watcher.close();
      resolve(signal === 'SIGKILL' ? undefined : (code ?? 1));
    });
  });
}

export interface KillOptions {
  /** The `node` to start, and what makes it the command line. */
  readonly command: readonly [string, ...string[]];
  /** Arguments of `train` besides --out. */
  readonly args: readonly string[];
  /** An existing, empty folder. */
  readonly out: string;
  /** Steps of the whole training, and of an epoch. */
  readonly steps: number;
  readonly stepsPerEpoch: number;
  readonly kills: number;
  readonly seed: number;
  readonly onDeath?: (death: Death) => void;
}

/**
 * Trains, killed `kills` times at random moments spread over the steps, every second time while a checkpoint is
 * written, and resumed each time. @throws Error if a process ends otherwise
 */
export async function trainThroughKills(options: KillOptions): Promise<void> {
  const { command, args, out, steps, stepsPerEpoch, kills, seed, onDeath } = options;
  for (let index = 0; index <= kills; index++) {
    const source = random(seed, 'kill', index);
    const at = ((steps - stepsPerEpoch) * (index + source.uniform())) / kills;
    const writing = index % 2 === 1;
    const moment = { step: Math.floor(at), writing, delayMs: source.uniform() * (writing ? 3 : 30) };
    const last = index === kills;
    const code = await train(command, index === 0 ? args : ['--resume'], out, last ? undefined : moment);
    if (last ? code !== 0 : code !== undefined)
      throw new Error(
        `process ${index + 1} was to ${last ? 'end with 0' : 'be killed'}; it left with ${code}`,
      );
    if (last) return;
    const half = (await readdir(out)).filter((name) => /\.(tmp|new)$/.test(name));
    onDeath?.({ ...moment, half });
  }
}
