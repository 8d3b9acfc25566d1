/** All commands under one name, and the one place where failures become messages and exit codes. */
import { Command, type Option } from 'commander';
import '../data/source.node.ts'; // paths as sources
import '../hash.node.ts';
import { restartThroughLavapipe } from '../gpu/lavapipe.node.ts';
import { launchOf } from '../distributed/launch.node.ts';
import { version } from '../version.ts';
import { checkCommand } from './commands/check.ts';
import { demoCommand } from './commands/demo.ts';
import { evaluateCommand } from './commands/evaluate.ts';
import { exportCommand } from './commands/export.ts';
import { infoCommand } from './commands/info.ts';
import { planCommand } from './commands/plan.ts';
import { predictCommand } from './commands/predict.ts';
import { renderCommand } from './commands/render.ts';
import { splitCommand } from './commands/split.ts';
import { trainCommand } from './commands/train.ts';
import { exitCodes, exitCodesHelp, fileReason, tellFailure } from './failure.ts';
import type { Io } from './io.ts';
import { assertStartedOnce } from './ranks.ts';
import { bytes, typedBytes } from './parse.ts';

/** Commands that compute on the GPU, and so may have to be started through a fetched driver. */
const gpuCommands = new Set(['train', 'predict', 'demo', 'info']);

/** Commands whose results are files: they do not end because nobody reads what they print. */
const filingCommands = new Set(['train', 'predict', 'demo']);

/** Thrown where another process has done the command's work. */
class DoneElsewhere extends Error {
  constructor(readonly exitCode: number) {
    super();
  }
}

export interface RunOptions {
  /** Start the process again through the fetched lavapipe, where that is the adapter to use. */
  readonly restart?: boolean;
}

export function createProgram(io: Io, { restart = false }: RunOptions = {}): Command {
  const program = new Command('unet3d-gpu')
    .description('Train and run 3D U-Nets on medical volumes with WebGPU.')
    .version(version)
    .addHelpText(
      'after',
      `
Examples:
  unet3d-gpu demo
  unet3d-gpu train data/hippocampus --out runs/1
  unet3d-gpu predict runs/1/model.safetensors image.nii.gz --out labels.nii.gz
  unet3d-gpu evaluate predictions/ labels/
${exitCodesHelp}`,
    );
  program.hook('preAction', (_, command) => refuseEmpty(command));
  if (restart) {
    program.hook('preAction', async (_, command) => {
      assertStartedOnce(command.name(), command.opts()['shard'] !== undefined);
      // A launcher of several processes talks to those that it has started itself.
      if (!gpuCommands.has(command.name()) || launchOf()) return;
      const exitCode = await restartThroughLavapipe(io.signal);
      if (exitCode !== undefined) throw new DoneElsewhere(exitCode);
    });
  }
  const commands = [
    demoCommand,
    trainCommand,
    predictCommand,
    evaluateCommand,
    splitCommand,
    checkCommand,
    planCommand,
    renderCommand,
    exportCommand,
    infoCommand,
  ];
  for (const make of commands) program.addCommand(make(io));
  for (const command of [program, ...program.commands]) {
    command.exitOverride();
    command.configureHelp({ subcommandTerm: (sub) => sub.name() });
    describeDefaults(command);
    refuseTwice(command);
    command.showHelpAfterError(
      `(unet3d-gpu ${command === program ? '' : `${command.name()} `}--help tells more)`,
    );
    command.configureOutput({
      writeOut: (text) => io.out(...text.trimEnd().split('\n')),
      writeErr: (text) => io.err(...text.trimEnd().split('\n')),
    });
  }
  return program;
}

/** Help shows defaults as a person types them. */
function describeDefaults({ options }: Command): void {
  for (const option of options) {
    const value: unknown = option.defaultValue;
    if (option.defaultValueDescription !== undefined || typeof value === 'boolean') continue;
    if (option.parseArg === (bytes as unknown)) option.default(value, typedBytes(value as number));
    else if (value !== undefined) option.default(value, `${value as string | number | readonly unknown[]}`);
  }
}

/** Of two values of one option, the first would be forgotten without a word, but where its parser is given the one before. */
function refuseTwice(command: Command): void {
  const takesOne = ({ variadic, required, parseArg }: Option): boolean =>
    required && !variadic && (parseArg?.length ?? 1) === 1;
  for (const option of command.options.filter(takesOne)) {
    let first: string | undefined;
    command.on(`option:${option.name()}`, (value: string) => {
      first ??= value;
      if (value !== first)
        command.error(
          `error: option '${option.flags}' is given twice, as ${first} and as ${value}: leave one of the two out`,
        );
    });
  }
}

/** Where a file is meant, an empty text would be the working folder, or none. */
function refuseEmpty(command: Command): void {
  const isEmpty = (value: unknown): boolean => [value].flat().includes('');
  const option = command.options.find((found) => isEmpty(command.opts()[found.attributeName()]));
  const what = option ? `option '${option.flags}'` : 'an argument';
  if (option || isEmpty(command.args))
    command.error(
      `error: ${what} is empty: give a value, and see whether a variable that stands there is set`,
    );
}

/** Runs one command line (without `node` and the script) and gives its exit code; never throws. */
export async function runCli(args: readonly string[], io: Io, options: RunOptions = {}): Promise<number> {
  const exitCode = await run(args, io, options);
  const lost = await io.written();
  if (lost?.code === 'EPIPE') return filingCommands.has(args[0] ?? '') ? exitCode : exitCodes.closedPipe;
  if (!lost) return exitCode;
  io.err(`error: the standard output cannot be written: ${fileReason(lost) ?? lost.message}`);
  return exitCode || exitCodes.failure;
}

async function run(args: readonly string[], io: Io, options: RunOptions): Promise<number> {
  try {
    await createProgram(io, options).parseAsync(args, { from: 'user' });
    return exitCodes.fine;
  } catch (error) {
    if (error instanceof DoneElsewhere) return error.exitCode;
    return tellFailure(io, error);
  }
}
