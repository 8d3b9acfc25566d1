/**
 * The results of a day as bench/results/gpu-NAME.md, every figure with its command, driver and date.
 *   npx tsx bench/gpu-day/table.ts RESULTS.json… [--out FILE.md]
 * Of several calls, each part counts as the last call has it that reached it.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ProfileRow } from '../../src/gpu/profiler.ts';
import type { Measurement } from '../../src/model/tune.ts';
import type { KernelRow } from '../../src/self-test/kernels.ts';
import type { Ceilings } from '../ceiling.ts';
import type { Timing } from '../lib.ts';
import { headline, readDay, type DayResult, type PartResult } from './results.ts';
import { bytesText } from './tell.ts';

type Cell = string | number | undefined;

/** What step.ts tells of one choice of kernels. */
interface OurStep extends Partial<Timing> {
  readonly createMs: number;
  readonly firstMs: number;
  readonly gflop: number;
  readonly plannedBytes: number;
  readonly losses: readonly number[];
  readonly inFlightMs?: number;
  readonly takenBytes?: number;
}
interface Profile {
  readonly gpuMs: number;
  readonly byKernel: readonly ProfileRow[];
}
interface Tuning {
  readonly seconds: number;
  readonly measured: readonly Measurement[];
  readonly left: number;
}
type Apart = Readonly<Record<string, { readonly worst: number; readonly name: string }>>;
interface ConvRow extends Timing {
  readonly kind: string;
  readonly channels: number;
  readonly size: readonly number[];
}
interface OurConvRow extends Omit<ConvRow, keyof Timing> {
  readonly kernel?: string;
  readonly table: Timing & { share: number };
  readonly tuned: Timing & { share: number };
}

/** Each part as the last call has it that reached it; one that was done before stays. */
export function merged(days: readonly DayResult[]): ReadonlyMap<string, PartResult> {
  const parts = new Map<string, PartResult>();
  for (const part of days.flatMap((day) => day.parts)) {
    const earlier = parts.get(part.name);
    if (!earlier || part.status === 'done' || (earlier.status !== 'done' && part.status !== 'left'))
      parts.set(part.name, part);
  }
  return parts;
}

const row = (...cells: readonly Cell[]): string => `| ${cells.map((cell) => cell ?? '–').join(' | ')} |`;
/** The first column is text, the others are numbers. */
const head = (...cells: readonly string[]): string[] => [
  row(...cells),
  row(...cells.map((_, index) => (index === 0 ? '---' : '---:'))),
];
const ms = (timing: Partial<Timing> | undefined): Cell =>
  timing?.median === undefined
    ? undefined
    : `${timing.median.toFixed(2)} (${timing.least!.toFixed(2)}–${timing.most!.toFixed(2)})`;
const percent = (share: number): Cell =>
  Number.isFinite(share) ? `${(100 * share).toFixed(0)} %` : undefined;
const times = (a: number | undefined, b: number | undefined): Cell =>
  a === undefined || b === undefined ? undefined : `${(a / b).toFixed(2)}×`;

/** As NVIDIA's tool calls it, else as WebGPU does. */
export function gpuName(days: readonly DayResult[]): string {
  const { gpu = '' } = days[0]!.machine;
  const adapter = merged(days).get('adapter')?.found['adapter'] as string | undefined;
  return gpu.startsWith('not there') ? (adapter ?? 'no adapter').split(' | ')[0]! : gpu.split(',')[0]!;
}

/** A document of what there is. */
export function document(days: readonly DayResult[]): string {
  const parts = merged(days);
  const found = (name: string) => parts.get(name)?.found ?? {};
  const lines: string[] = [];
  const { machine, vulkanDriver, version } = days[0]!;
  const adapter = found('adapter') as { adapter?: string; dawn?: string; ceiling?: Ceilings };
  const torch = ['losses-torch', 'step-torch'].map((name) => found(name)['version']).find(Boolean);
  lines.push(`# ${gpuName(days)}`, '');
  if (days.some(({ rehearsal }) => rehearsal))
    lines.push('**A rehearsal: small sizes, on a program on the CPU.**', '');
  lines.push(
    `unet3d-gpu ${version}; ${days.map(({ date }) => date.slice(0, 16).replace('T', ' ')).join(' and ')} UTC.`,
    '',
    ...Object.entries({
      ...machine,
      adapter: adapter.adapter,
      'Vulkan driver': vulkanDriver,
      Dawn: adapter.dawn,
    })
      .concat([['PyTorch', torch as string | undefined]])
      .map(([name, value]) => `- ${name}: ${value ?? 'none'}`),
    ...days.map(({ command }) => `- command: \`node ${command}\``),
    '',
  );
  if (adapter.ceiling) {
    const { gflops, gigabytes, dispatchMicroseconds } = adapter.ceiling;
    lines.push(
      `Ceilings, measured: ${gflops.toFixed(0)} GFLOP/s of independent multiply-adds, ${gigabytes.toFixed(0)} GB/s of a copy, ` +
        `${dispatchMicroseconds.toFixed(1)} µs a dispatch.`,
      '',
    );
  }
  const sections = [kernels, losses, steps, tunings, profiles, convs];
  for (const section of sections) lines.push(...section(found));
  lines.push('## All parts', '', ...head('part', 'ended', 'seconds', 'command', 'in a line'));
  for (const part of parts.values()) {
    const words = [headline(part), part.reason].filter(Boolean).join('; ').replaceAll('|', '·');
    lines.push(row(part.name, part.status, part.seconds.toFixed(1), `\`${part.command}\``, words));
  }
  return `${lines.join('\n')}\n`;
}

const ourSteps = ['step-f32', 'step-f16', 'step-f16-matrix', 'step-f32-matrix'];

type Found = (name: string) => Readonly<Record<string, unknown>>;

function kernels(found: Found): string[] {
  const lines = [
    '## Kernels against float64',
    '',
    ...head('part', 'tried', 'wrong', 'largest error', 'devices lost'),
  ];
  for (const name of ['kernels', 'kernels-matrix']) {
    const {
      tried,
      of,
      worst = {},
      wrong = [],
      lost = [],
    } = found(name) as {
      tried?: number;
      of?: number;
      worst?: Record<string, number>;
      wrong?: KernelRow[];
      lost?: string[];
    };
    if (tried === undefined) continue;
    const errors = Object.entries(worst).map(
      ([storage, error]) => `${storage} ${error?.toExponential(1) ?? 'NaN'}`,
    );
    lines.push(row(name, `${tried} of ${of}`, wrong.length, errors.join(', '), lost.length));
    for (const { op, kernels, storage, problem } of wrong)
      lines.push(row(`${op}, ${kernels}, ${storage}`, problem));
    for (const text of lost) lines.push(row(text));
  }
  return [...lines, ''];
}

function losses(found: Found): string[] {
  const ours = (found('losses')['table'] as OurStep | undefined)?.losses;
  const lines = [
    '## Twenty steps, and the gradients of the first',
    '',
    ...head('beside', 'losses apart, at most', 'gradients apart, at most'),
  ];
  for (const name of ['losses-torch', 'losses-f64']) {
    const {
      losses: theirs,
      apart = {},
      mode,
    } = found(name) as { losses?: number[]; apart?: Apart; mode?: string };
    if (!theirs) continue;
    const off = ours && Math.max(...ours.map((value, step) => Math.abs(value - (theirs[step] ?? NaN))));
    const worst = Object.entries(apart).map(
      ([who, { worst, name }]) => `${who} ${worst?.toExponential(1) ?? 'NaN'} (${name})`,
    );
    lines.push(row(`PyTorch, ${mode}`, off?.toExponential(1), worst.join('; ')));
  }
  return [...lines, ''];
}

function steps(found: Found): string[] {
  const base = (found('step-torch') as Partial<Timing>).median;
  const lines = [
    ...['## A training step of the study', ''],
    ...head(
      '',
      'ms',
      'in flight, ms',
      '× PyTorch float32',
      'planned or tensors',
      'taken on the GPU',
      'ready in, s',
    ),
  ];
  for (const name of ourSteps)
    for (const key of ['table', 'tuned']) {
      const step = found(name)[key] as OurStep | undefined;
      if (!step) continue;
      const ready = ((step.createMs + step.firstMs) / 1000).toFixed(1);
      const memory = [bytesText(step.plannedBytes), bytesText(step.takenBytes)];
      const { storage } = found(name) as { storage?: string };
      lines.push(
        row(
          `${name}, ${key} (${storage})`,
          ms(step),
          step.inFlightMs?.toFixed(2),
          times(step.inFlightMs, base),
          ...memory,
          ready,
        ),
      );
    }
  for (const mode of ['', '-tf32', '-amp', '-channels-last', '-amp-channels-last']) {
    const step = found(`step-torch${mode}`) as Partial<Timing> & {
      tensorBytes?: number;
      takenBytes?: number;
      firstMs?: number;
    };
    if (step.median === undefined) continue;
    const ready = step.firstMs && (step.firstMs / 1000).toFixed(1);
    const memory = [bytesText(step.tensorBytes), bytesText(step.takenBytes)];
    lines.push(row(`PyTorch${mode}`, ms(step), undefined, times(step.median, base), ...memory, ready));
  }
  return [...lines, ''];
}

function tunings(found: Found): string[] {
  const lines: string[] = [];
  for (const name of ourSteps) {
    const { tuning, tunedApart } = found(name) as { tuning?: Tuning; tunedApart?: { worst: number } };
    if (!tuning) continue;
    lines.push(
      ...[`### What measuring chose: ${name}`, ''],
      `${tuning.seconds.toFixed(1)} s; ${tuning.left} passes left; gradients apart from the table's by ${tunedApart?.worst?.toExponential(1) ?? '–'}.`,
      ...['', ...head('pass', 'kernel', 'ms', 'the table’s', 'its ms', 'rejected')],
      ...tuning.measured.map((each) =>
        row(
          each.key,
          each.kernel,
          each.ms.toFixed(3),
          each.standard,
          each.standardMs.toFixed(3),
          each.rejected.join(', '),
        ),
      ),
      '',
    );
  }
  return lines;
}

function profiles(found: Found): string[] {
  const lines: string[] = [];
  for (const name of ourSteps)
    for (const key of ['table', 'tuned']) {
      const profile = found(name)[`${key} kernels`] as Profile | undefined;
      const { ceiling } = found(name) as { ceiling?: Ceilings };
      if (!profile || !ceiling) continue;
      lines.push(
        `### Where its time goes: ${name}, ${key}, ${profile.gpuMs.toFixed(2)} ms by timestamps`,
        '',
        ...head(
          'kernel',
          'dispatches',
          'ms',
          'of the step',
          'of the multiply-adds’ ceiling',
          'of the copy’s',
        ),
        ...profile.byKernel
          .slice(0, 16)
          .map((each) =>
            row(
              each.name,
              each.count,
              each.ms.toFixed(3),
              percent(each.ms / profile.gpuMs),
              percent((each.gflops ?? NaN) / ceiling.gflops),
              percent(each.gigabytes / ceiling.gigabytes),
            ),
          ),
        '',
      );
    }
  return lines;
}

function convs(found: Found): string[] {
  const theirs = (found('convs-torch')['rows'] ?? []) as ConvRow[];
  const lines: string[] = [];
  for (const name of ['convs-f32', 'convs-f16']) {
    const rows = (found(name)['rows'] ?? []) as OurConvRow[];
    if (rows.length === 0) continue;
    lines.push(
      ...[`## Convolutions by themselves, batch 2: ${name}`, ''],
      ...head(
        'conv3',
        'the table’s, ms',
        'tuned, ms',
        'kernel',
        'of the ceiling',
        'cuDNN float32, ms',
        'tuned ÷ cuDNN',
      ),
    );
    for (const { kind, channels, size, table, tuned, kernel } of rows) {
      const peer = theirs.find((each) => each.kind === kind && each.channels === channels);
      const title = `${kind}, ${channels} ch @${[...size].reverse().join('×')}`;
      lines.push(
        row(
          title,
          ms(table),
          ms(tuned),
          kernel,
          percent(tuned.share),
          ms(peer),
          times(tuned.median, peer?.median),
        ),
      );
    }
    lines.push('');
  }
  return lines;
}

if (process.argv[1] === import.meta.filename) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: 'string' } } });
  if (positionals.length === 0)
    throw new Error('usage: npx tsx bench/gpu-day/table.ts RESULTS.json… [--out FILE.md]');
  const days = positionals.map(readDay);
  const slug = gpuName(days)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-');
  const path = values.out ?? `bench/results/gpu-${slug}.md`;
  writeFileSync(path, document(days));
  console.log(path);
}
