/**
 * Segments the cases of other tools beside the checkout with `predict`, and compares with the labels that those tools
 * wrote: voxels that differ, seconds and peak memory of the process, and the command, as a table in Markdown.
 *   npm run setup && npx tsx bench/parity.ts [FOLDER]
 * FOLDER holds folders as ../shared/data/interop does: nnunet-NAME (fixture.json names the model), and monai-NAME with
 * bundle/ and case/.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import '../src/data/source.node.ts';
import { readNifti } from '../src/data/nifti.ts';
import { formatBytes } from '../src/format.ts';

/** A case with the labels of the tool that its network comes from. */
interface ParityCase {
  readonly network: string;
  readonly model: string;
  readonly images: string;
  readonly reference: string;
  readonly options: readonly string[];
}

const root = process.argv[2] ?? '../shared/data/interop';
const within = (name: string, path: string): string => join(root, name, path);

function caseOf(name: string): ParityCase | undefined {
  if (name.startsWith('monai-') && existsSync(within(name, 'bundle'))) {
    const [images, reference] = ['case/image.nii.gz', 'case/segmentation.nii.gz'].map((path) =>
      within(name, path),
    );
    return {
      network: name,
      model: within(name, 'bundle'),
      images: images!,
      reference: reference!,
      options: [],
    };
  }
  if (!name.startsWith('nnunet-')) return undefined;
  const { model } = JSON.parse(readFileSync(within(name, 'fixture.json'), 'utf8')) as { model: string };
  const ct = within(name, 'case/ct.nii.gz');
  const whole = existsSync(ct);
  return {
    network: name,
    model: within(name, model),
    images: whole ? ct : within(name, 'case/images'),
    reference: within(name, whole ? 'case/final.nii.gz' : 'case/segmentation.nii.gz'),
    options: whole ? ['--pipeline', 'totalsegmentator'] : [],
  };
}

/** Tells on its way out what the process took at most, where the system is Linux. */
const telling =
  'data:text/javascript,import fs from "node:fs";process.on("exit",()=>' +
  'process.stderr.write(/VmHWM.*/.exec(fs.readFileSync("/proc/self/status","utf8"))[0]))';

const rows = [
  '| network | voxels that differ | seconds | peak memory | command |',
  '| --- | ---: | ---: | ---: | --- |',
];
const folder = mkdtempSync(join(tmpdir(), 'parity-'));
try {
  for (const name of readdirSync(root).toSorted()) {
    const found = caseOf(name);
    if (!found) continue;
    const { network, model, images, reference, options } = found;
    const out = join(folder, 'labels');
    rmSync(out, { recursive: true, force: true });
    const command = ['predict', model, images, ...options, '--out'];
    const started = performance.now();
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', telling, 'dist/cli.js', ...command, out],
      {
        encoding: 'utf8',
      },
    );
    const seconds = (performance.now() - started) / 1000;
    if (status !== 0) throw new Error(`${network}: ${stderr}`);
    const [labels] = readdirSync(out).filter((file) => file.endsWith('.nii.gz'));
    const [own, theirs] = [await readNifti(join(out, labels!)), await readNifti(reference)];
    const different = theirs.data.reduce((sum, value, voxel) => sum + (value === own.data[voxel] ? 0 : 1), 0);
    const peak = formatBytes(1024 * Number(/VmHWM:\s+(\d+)/.exec(stderr)?.[1]));
    rows.push(
      `| ${network} | ${different} of ${theirs.data.length} | ${seconds.toFixed(1)} | ${peak} | \`unet3d-gpu ${command.join(' ')} labels\` |`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(rows.join('\n'));
