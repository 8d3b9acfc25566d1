/**
 * Everything that is worth measuring on a GPU, in order of worth, each part in a process of its own with its own time: see
 * README.md beside this. Results and log are written anew after each part.
 *   node .gpu/bench/day.mjs --out FOLDER [--seconds 430] [--skip RESULTS.json] [--parts a,b] [--rehearse]
 * --seconds is for all together; parts that find too little left are left out. --skip leaves out what was done in an
 * earlier call, and takes what was not reached before what failed. --rehearse takes small sizes, on a program on the CPU.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { version } from '../../src/version.ts';
import { vulkanDrivers } from './drivers.ts';
import { callSeconds, day, partsOf, rehearsal, type Part } from './parts.ts';
import { headline, readDay, type DayResult, type PartResult } from './results.ts';
import { runPart } from './run-part.ts';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string', default: process.env['OUT'] ?? 'gpu-day' },
    seconds: { type: 'string', default: `${callSeconds.first}` },
    skip: { type: 'string' },
    parts: { type: 'string' },
    rehearse: { type: 'boolean', default: false },
  },
});
const started = performance.now();
const elapsed = (): number => (performance.now() - started) / 1000;
const left = (): number => Number(options.seconds) - elapsed();
/** Less is not worth a process. */
const leastSeconds = 8;
/** Bytes of the log of one part. */
const mostLog = 2 ** 19;

/** Of the command line's tools; steps and pictures would fill the file. */
const keptEvents = new Set<unknown>([
  'start',
  'epoch',
  'tuned',
  'warning',
  'recovered',
  'result',
  'cross-validation',
]);

const folder = mkdtempSync(join(tmpdir(), 'gpu-day-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
mkdirSync(options.out, { recursive: true });
const log = join(options.out, 'log.txt');
const scale = options.rehearse ? rehearsal : day;
const results: PartResult[] = [];
let vulkanDriver: string | undefined;

const lastLines = (command: string, args: readonly string[]): string => {
  try {
    return execFileSync(command, args, { encoding: 'utf8', timeout: 10_000, stdio: 'pipe' }).trim();
  } catch (error) {
    return `not there: ${(error as Error).message.split('\n')[0]}`;
  }
};
const machine = {
  node: process.version,
  processor: `${cpus().length} x ${cpus()[0]?.model}`,
  kernel: lastLines('uname', ['-sr']),
  gpu: lastLines('nvidia-smi', [
    '--query-gpu=name,driver_version,memory.total,clocks.max.sm',
    '--format=csv,noheader',
  ]),
};

/** Written whole beside the old one, which it then replaces. */
function save(running?: PartResult): void {
  const result: DayResult = {
    date: new Date().toISOString(),
    version,
    command: process.argv.slice(1).join(' '),
    rehearsal: options.rehearse,
    machine,
    vulkanDriver,
    parts: running ? [...results, running] : results,
  };
  const path = join(options.out, 'results.json');
  writeFileSync(`${path}.part`, `${JSON.stringify(result, null, 1)}\n`);
  renameSync(`${path}.part`, path);
}

const say = (text: string): void => {
  console.log(text);
  appendFileSync(log, `${text}\n`);
};

async function run(part: Part, seconds: number, driver: string | undefined): Promise<PartResult> {
  const [script = '', ...args] = part.command;
  const command = [script.includes('/') ? script : `.gpu/bench/${script}.mjs`, ...args];
  const env = {
    ...process.env,
    XDG_CACHE_HOME: join(folder, 'cache'), // kernels are chosen on this day, for all parts
    PYTHONUNBUFFERED: '1',
    PEERS_VERBOSE: '1', // what PyTorch has to say belongs into the log
    ...(driver !== undefined && { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver }),
    ...(part.name === 'adapter' && { VK_LOADER_DEBUG: 'error,warn,driver' }),
    ...(part.cuda && options.rehearse && { PEER_DEVICE: 'cpu' }),
  };
  const found: Record<string, unknown> = {};
  const events: Record<string, unknown>[] = [];
  const begun = elapsed();
  let bytes = 0;
  const sofar = (): Omit<PartResult, 'status'> => ({
    name: part.name,
    command: `node ${command.join(' ')}`,
    seconds: Number((elapsed() - begun).toFixed(1)),
    found,
    events,
  });
  appendFileSync(log, `\n== ${part.name}: node ${command.join(' ')}${driver ? ` with ${driver}` : ''}\n`);
  const ended = await runPart(command, {
    env,
    seconds,
    onFound: (news) => {
      if (!('type' in news)) Object.assign(found, news);
      else if (keptEvents.has(news['type'])) events.push(news);
      save({ ...sofar(), status: 'timeout', reason: 'the day itself was ended' });
    },
    onLine: (line) => {
      if ((bytes += line.length) < mostLog) appendFileSync(log, `${line}\n`);
    },
  });
  return { ...sofar(), ...ended };
}

const earlier = options.skip === undefined ? [] : readDay(options.skip).parts;
const before = new Map(earlier.map(({ name, status }) => [name, status]));
const named = options.parts?.split(',');
const all = partsOf(scale, folder);
const adapter = all[0]!; // which finds the driver for the others, in every call
const wanted = all
  .slice(1)
  .filter(({ name }) => (named ? named.includes(name) : before.get(name) !== 'done'));
const hasFailed = ({ name }: Part): boolean => ['failed', 'timeout'].includes(before.get(name) ?? '');
const ordered = [...wanted.filter((part) => !hasFailed(part)), ...wanted.filter(hasFailed)];

/** Names of the parts that did, in an earlier call as well. */
const failed = new Set(wanted.filter(hasFailed).map(({ name }) => name));

function report(result: PartResult): void {
  results.push(result);
  save();
  if (['failed', 'timeout'].includes(result.status)) failed.add(result.name);
  const words = [
    headline(result),
    result.status === 'done' ? '' : `${result.status.toUpperCase()}: ${result.reason ?? ''}`,
  ];
  const at = `${elapsed().toFixed(0)} s`.padStart(6);
  say(`${at}  ${result.name.padEnd(28)} ${result.seconds.toFixed(1)} s  ${words.join(' ').trim()}`);
}

say(`${machine.gpu}; ${machine.processor}; ${machine.node}; ${options.seconds} s`);
const drivers = vulkanDrivers(folder);
say(`Vulkan drivers to try: ${drivers.join(', ') || 'none: no library of a driver in the known places'}`);
let hasAdapter = false;
for (const driver of drivers) {
  const result = await run(adapter, adapter.seconds * scale.patience, driver);
  hasAdapter = 'ceiling' in result.found; // the last that it tells, also where its end is not orderly
  if (hasAdapter) vulkanDriver = driver;
  if (hasAdapter || driver === drivers.at(-1)) report(result);
  else say(`  ${driver}: ${result.reason}`);
  if (hasAdapter) break;
}
if (!hasAdapter)
  say('NO GPU FOR WEBGPU: what needs no Vulkan is measured all the same; the log says what the loader found');

for (const part of ordered) {
  const none = { name: part.name, command: part.command.join(' '), seconds: 0, found: {}, events: [] };
  const { needs = '' } = part;
  if (failed.has(needs)) report({ ...none, status: 'left', reason: `${needs} failed` });
  else if (!hasAdapter && !part.cuda) report({ ...none, status: 'left', reason: 'no adapter' });
  else if (left() < leastSeconds) report({ ...none, status: 'left', reason: 'no time left' });
  else report(await run(part, Math.min(part.seconds * scale.patience, left()), vulkanDriver));
}
say(`${elapsed().toFixed(0)} s in all; ${options.out}/results.json and log.txt`);
process.exit(0);
