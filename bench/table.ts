/**
 * Writes what bench/results/ holds into README.md, between <!-- bench --> and <!-- /bench -->.
 *   npm run bench:table
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readResult, timingText, type Timing } from './lib.ts';

interface Bench {
  sections: {
    kernels?: { ceiling: { gflops: number; gigabytes: number }; rows: Kernel[] };
    steps?: { rows: Step[] };
    first?: { rows: { features: number[]; firstStepMs: number }[] };
    inference?: { rows: (Timing & { size: number[] })[] };
  };
}
interface Kernel extends Timing {
  kernel: string;
  from: number[];
  to: number;
  size: number[];
  batch: number;
  gflops: number;
  shareOfGflops: number;
  /** The kernel that was measured to be the fastest. */
  tuned?: string;
}
interface Step extends Timing {
  features: number[];
  size: number[];
  batch: number;
  tuning?: { seconds: number };
}
type Timings = Record<string, Timing>;
interface Peers {
  adapter: string;
  date: string;
  cases: Record<
    string,
    {
      peers: Record<string, string>;
      features?: number[];
      channels?: number;
      batch: number;
      size: number[];
      gflop?: number;
      timings?: Timings;
      byKind?: Record<string, Timings>;
    }
  >;
}
interface Nifti {
  date: string;
  reference: string;
  orientations: { name: string; ours: Timing; nibabel: Timing; ratio: number }[];
}

const lines: string[] = [];
let digits = 0;
const ms = (timing: Timing): string => timingText(timing, digits);
const beside = (timings: Timings, name: string): string => {
  const [ours, theirs] = [timings['ours']!, timings[name]];
  return theirs ? `${theirs.median.toFixed(digits)} = ${(theirs.median / ours.median).toFixed(2)}×` : '–';
};
/** Names of the peers and the heads of their columns; those of CUDA only where it was there. */
const columns = {
  torch: 'PyTorch, CPU',
  'torch-cuda': 'PyTorch, CUDA, float32',
  'torch-cuda-tf32': 'TF32',
  'torch-cuda-amp': 'mixed precision',
  'torch-cuda-channels-last': 'channels last',
  'jax-js': 'jax-js',
  'TF.js': 'TF.js',
};
const order = (size: number[]): string => size.toReversed().join('×');

for (const adapter of ['hardware', 'lavapipe', 'swiftshader']) {
  digits = adapter === 'hardware' ? 2 : 0;
  const peers = readResult<Peers>(`peers-${adapter}`);
  if (peers) {
    const names = ['conv16', 'conv32', 'conv64', 'step8x1', 'step8x2', 'step16x1', 'step16x2', 'stepfull'];
    const cases = names.flatMap((name) => peers.cases[name] ?? []);
    const found = Object.assign({}, ...cases.map((each) => each.peers)) as Record<string, string>;
    const versions = new Set(Object.values(found));
    const shown = Object.entries(columns).filter(([name]) => name in found || !name.startsWith('torch-'));
    lines.push(
      `On ${peers.adapter.split(' | ').slice(0, 2).join(', ')} (${peers.date.slice(0, 10)}), by turns in one run with ${[...versions].join('; ')}: ` +
        'medians in ms with their spread, and the peer as a multiple of ours. "–": it computes something else, or does not run.',
      '',
      `| \`npm run bench:peers\` | ours | GFLOP/s | ${shown.map(([, head]) => head).join(' | ')} |`,
      `| --- | ---: | ---: | ${shown.map(() => '---:').join(' | ')} |`,
    );
    const row = (what: string, timings: Timings, gflop?: number) => {
      const speed = gflop === undefined ? '' : ((gflop / timings['ours']!.median) * 1000).toFixed(0);
      const others = shown.map(([name]) => beside(timings, name));
      lines.push(`| ${what} | ${ms(timings['ours']!)} | ${speed} | ${others.join(' | ')} |`);
    };
    for (const { channels, size, batch, gflop, byKind } of cases)
      for (const [kind, timings] of Object.entries(byKind ?? {}))
        row(`conv3 ${kind}, ${channels} ch @${order(size)}, batch ${batch}`, timings, gflop);
    for (const { features, size, batch, timings } of cases)
      if (timings)
        row(`training step, features ${features!.join(', ')}, batch ${batch} of ${order(size)}`, timings);
    lines.push('');
  }
  const bench = readResult<Bench>(`bench-${adapter}`)?.sections;
  const { kernels, steps, first, inference } = bench ?? {};
  if (kernels) {
    const share = ({ shareOfGflops, tuned }: Kernel) =>
      (100 * shareOfGflops).toFixed(0) + (tuned === undefined ? '' : ` (${tuned})`);
    const ofKind = (kind: string) => kernels.rows.filter(({ kernel }) => kernel === `conv3 ${kind}`);
    const list = (kind: string) => ofKind(kind).map(share).join(', ');
    lines.push(
      `- \`npm run bench\`, ${adapter}: ceilings of ${kernels.ceiling.gflops.toFixed(0)} GFLOP/s (independent multiply-adds) and ` +
        `${kernels.ceiling.gigabytes.toFixed(0)} GB/s (copy); of the former conv3 reaches, at ` +
        `${ofKind('forward')
          .map(({ from, to, size }) => `${from.join('+')}→${to} @${order(size)}`)
          .join(', ')}: forward ${list('forward')} %; ` +
        `without the last, data gradient ${list('data gradient')} %, weight gradient ${list('weight gradient')} %.`,
    );
    const study = steps?.rows.filter(({ size: [x] }) => x === 256) ?? [];
    if (study.length > 0)
      lines.push(
        `- Training step at the study's size: ${study
          .map(
            ({ features, batch, size, tuning, ...timing }) =>
              `features ${features.join(', ')}, batch ${batch} of ${order(size)} ${ms(timing)} ms` +
              (tuning ? `, kernels tuned in ${tuning.seconds.toFixed(0)} s` : ''),
          )
          .join('; ')}.`,
      );
    if (inference)
      lines.push(
        `- Logits of one volume, features 16, 32, 64, 128: ${inference.rows.map((each) => `${each.size.join('×')} ${ms(each)} ms`).join(', ')}.`,
      );
    if (first)
      lines.push(
        `- First training step in a fresh process without the driver's disk cache, compilation included: ${first.rows
          .map(
            ({ features, firstStepMs }) =>
              `features ${features.join(', ')} ${(firstStepMs / 1000).toFixed(1)} s`,
          )
          .join(', ')}.`,
      );
  }
}
digits = 0;
const nifti = readResult<Nifti>('nifti');
if (nifti)
  lines.push(
    `- \`npx tsx bench/nifti.ts\`, .nii.gz of 256×256×128 int16 to canonical z-scored float32, against ${nifti.reference}: ` +
      `${nifti.orientations.map(({ name, ours, nibabel, ratio }) => `${name} ${ms(ours)} against ${ms(nibabel)} ms = ${ratio.toFixed(2)}`).join('; ')}.`,
  );

const path = new URL('../README.md', import.meta.url);
if (!existsSync(path)) throw new Error('README.md is missing');
const readme = readFileSync(path, 'utf8');
const part = /(<!-- bench -->\n)[^]*?(\n<!-- \/bench -->)/;
if (!part.test(readme)) throw new Error('README.md has no <!-- bench --> … <!-- /bench -->');
writeFileSync(
  path,
  readme.replace(part, (_, begin: string, end: string) => `${begin}${lines.join('\n').trim()}${end}`),
);
