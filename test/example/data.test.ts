/** What the browser example takes in and lets go: large sets and several, odd labels, DICOM. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { chromium as playwright, type Browser, type Page, type Route } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromium } from '../../scripts/chromium.ts';
import { readNifti, writeNifti } from '../../src/node.ts';
import { chooseDicom, volumeOfFolder } from '../support/dicom-page.ts';
import { dicomFile, obliqueSeries } from '../support/dicom.ts';
import { expectToFitNarrow, narrowWidths } from '../support/page-fits.ts';
import { serveExample, type Site } from '../support/site.ts';
import { threadSeconds } from '../support/thread-seconds.ts';
import { inFrontOf, visitPage, workers } from '../support/visit.ts';

const launch = chromium();
const complaints: string[] = [];
const folders: string[] = [];
let site: Site;
let browser: Browser | undefined;

beforeAll(async () => {
  site = await serveExample();
  if (launch) browser = await playwright.launch({ ...launch, headless: true });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
  for (const folder of folders) rmSync(folder, { recursive: true });
});

const visit = (): Promise<Page> => visitPage(browser!, site.address, complaints);

const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
/** A file of 4 × 3 × 2 voxels, and of so many volumes; `at` gives the value of a voxel. */
const volume = (at: (voxel: number) => number, volumes = 1): Promise<Uint8Array> =>
  writeNifti({
    data: Float32Array.from({ length: 24 * volumes }, (_, voxel) => at(voxel)),
    shape: volumes === 1 ? [4, 3, 2] : [4, 3, 2, volumes],
    affine,
  });
const image = (subject: number) => volume((voxel) => subject + ((7 * voxel) % 5));
/** The first half of the voxels is background. */
const halves = (value: number) => volume((voxel) => (voxel < 12 ? 0 : value));

async function folderOf(files: Record<string, Uint8Array | Promise<Uint8Array>>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'unet3d-page-'));
  folders.push(folder);
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), await bytes);
  }
  return folder;
}

/** @param first tells the images from those of others */
async function pairs(count: number, label = halves(1), name = 'case', first = 1): Promise<string> {
  const files: Record<string, Promise<Uint8Array>> = {};
  for (let subject = 1; subject <= count; subject++) {
    const id = `${name}_${String(subject).padStart(3, '0')}`;
    files[`images/${id}.nii.gz`] = image(first + subject);
    files[`labels/${id}.nii.gz`] = label;
  }
  return folderOf(files);
}

const open = async (page: Page, folder: string): Promise<void> =>
  page.getByLabel('Choose a folder').setInputFiles(folder);

/** Runs in the data worker, ahead of its script: tells the page the names of the files that are read. */
function tellReads(): void {
  const channel = new BroadcastChannel('reads');
  for (const method of ['arrayBuffer', 'slice', 'stream'] as const) {
    const { value: original } = Object.getOwnPropertyDescriptor(Blob.prototype, method) as {
      value: (...args: unknown[]) => unknown;
    };
    Object.assign(Blob.prototype, {
      [method](this: Blob, ...args: unknown[]) {
        if (this instanceof File) channel.postMessage(this.name);
        return original.apply(this, args);
      },
    });
  }
}

test('208 cases are read without drawing them all, and another label reads one case alone', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  await inFrontOf(page, workers.data, `(${tellReads.toString()})();`);
  const reads = (): Promise<string[]> =>
    page.evaluate(() => [...(globalThis as unknown as { reads: Set<string> }).reads]);
  await page.evaluate(() => {
    const counts = { reads: new Set<string>(), added: 0 };
    new BroadcastChannel('reads').onmessage = ({ data }) => counts.reads.add(data as string);
    new MutationObserver((records) => {
      for (const { addedNodes } of records)
        for (const node of addedNodes)
          counts.added += node instanceof Element ? 1 + node.querySelectorAll('*').length : 0;
    }).observe(document.body, { childList: true, subtree: true });
    Object.assign(globalThis, counts, { added: () => counts.added });
  });
  const cases = 208;
  const taken = await threadSeconds(page);
  await open(page, await pairs(cases));
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  // Each case once would be two selects, their options and six cells; each progress would be so many times that.
  const added = await page.evaluate(() => (globalThis as unknown as { added: () => number }).added());
  expect(added).toBeLessThan(20 * cases);
  // About one second; with all rows made anew at each progress, four minutes.
  const seconds = await taken();
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThan(10);
  expect(await page.locator('.cases-table tbody tr').count()).toBeLessThan(cases / 2);
  expect(await reads()).toHaveLength(cases); // an image and its label have one name

  await page.evaluate(() => (globalThis as unknown as { reads: Set<string> }).reads.clear());
  await page.getByLabel('Use of case_002', { exact: true }).selectOption('unused');
  const label = page.getByLabel('Label of case_001', { exact: true });
  await label.focus();
  await label.selectOption({ label: 'case_003.nii.gz' });
  await expect
    .poll(async () => (await reads()).sort(), { timeout: 20_000 })
    .toEqual(['case_001.nii.gz', 'case_003.nii.gz']);
  await page.locator('.busy').waitFor({ state: 'detached' });
  expect(await reads()).toHaveLength(2);

  // The last case is found by scrolling, and what was chosen by hand is still there.
  const table = page.locator('.cases-table');
  await table.evaluate((element) => (element.scrollTop = element.scrollHeight));
  await page.getByLabel('Label of case_208', { exact: true }).waitFor();
  await table.evaluate((element) => (element.scrollTop = 0));
  expect(await page.getByLabel('Use of case_002', { exact: true }).inputValue()).toBe('unused');
  await page.close();
});

test('another data set replaces the one before or is added to it, as one says', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  const count = (text: string) => page.locator('.cases-table caption', { hasText: text }).waitFor();
  await open(page, await pairs(2));
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  await open(page, await pairs(3, halves(1), 'other'));
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await count('2 cases');
  await open(page, await pairs(3, halves(1), 'other', 10));
  await page.getByRole('button', { name: 'Add to them' }).click();
  await count('5 cases');
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  // Cases of one name are two cases, but of the same images one.
  await open(page, await pairs(2, halves(1), 'case', 20));
  await page.getByRole('button', { name: 'Add to them' }).click();
  await count('7 cases');
  await open(page, await pairs(2));
  await page.getByRole('button', { name: 'Add to them' }).click();
  await page.getByText(/^2 scans of .* are here already, and not added again/).waitFor();
  await count('7 cases');
  await page.getByRole('button', { name: 'Try it with phantoms' }).click();
  await page.getByRole('button', { name: 'Replace them' }).click();
  await count('12 cases of phantoms');
  await page.close();
});

test('of several folders of labels one is asked for, and values that are no classes are mapped', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  const files: Record<string, Promise<Uint8Array>> = {};
  for (const subject of [1, 2, 3]) {
    files[`images/case_${subject}.nii.gz`] = image(subject);
    files[`labels_expert/case_${subject}.nii.gz`] = halves(255);
    files[`labels_student/case_${subject}.nii.gz`] = halves(1);
  }
  await open(page, await folderOf(files));
  await page.getByRole('button', { name: /labels_expert: 3 labels/ }).click();
  await page.getByRole('heading', { name: 'Which class is which value?' }).waitFor();
  expect(await page.getByLabel('Meaning of 255').inputValue()).toBe('1');
  await page.getByRole('button', { name: 'Use these classes' }).click();
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  expect(await page.getByRole('heading', { name: 'Which class is which value?' }).count()).toBe(0);
  expect(await page.getByLabel('Value 1').count()).toBe(1);
  expect(await page.getByLabel('Value 2').count()).toBe(0);
  expect(await page.locator('.problems .error').count()).toBe(0);
  await page.close();
});

/** Runs in the data worker, ahead of its script: a kind of job waits until it is let go. */
function holdJobs(kind: string): void {
  type Listen = (type: string, listener: (event: MessageEvent<{ job?: string }>) => void) => void;
  const scope = globalThis as unknown as { addEventListener: Listen };
  const listen = scope.addEventListener.bind(scope);
  const go = new Promise((resolve) => (new BroadcastChannel('go').onmessage = resolve));
  scope.addEventListener = (type, listener) =>
    listen(type, (event) => {
      if (event.data.job === kind) void go.then(() => listener(event));
      else listener(event);
    });
}

const holding = (page: Page, kind: 'check' | 'map'): Promise<void> =>
  inFrontOf(page, workers.data, `(${holdJobs.toString()})('${kind}');`);

const letGo = (page: Page): Promise<void> => page.evaluate(() => new BroadcastChannel('go').postMessage(''));

test('the reading of cases can be cancelled, and gone on with', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  await holding(page, 'check');
  await open(page, await pairs(2));
  await page.getByText('Reading 0 of 2 cases').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('.busy').waitFor({ state: 'detached' });
  await page.getByText('these cases have not been looked at').waitFor();
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByText('There are no cases to train on.').waitFor();
  await page.getByRole('tab', { name: 'Data' }).click();
  await letGo(page);
  await page.getByRole('button', { name: 'Go on reading' }).click();
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  expect(await page.getByRole('button', { name: 'Go on reading' }).count()).toBe(0);
  await page.close();
});

test('who starts over while labels are mapped begins with nothing, whatever comes of the mapping', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  await holding(page, 'map');
  await open(page, await pairs(2, halves(255)));
  const use = page.getByRole('button', { name: 'Use these classes' });
  await use.click();
  await page.getByText('Mapping 0 of 2 labels').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await use.click(); // they are as they were
  await page.getByRole('button', { name: 'Start over' }).click();
  await letGo(page);
  // Other data are as they were given, and the only ones.
  await open(page, await pairs(3, halves(1), 'other'));
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  expect(await page.locator('.cases-table caption').textContent()).toMatch(/^3 cases/);
  expect(await page.locator('.busy').count()).toBe(0);
  await page.close();
});

/** Runs in the data worker, ahead of its script: gives the page the files that it makes. */
function tellMade(): void {
  const scope = globalThis as unknown as { postMessage(message: { result?: unknown }, more: object): void };
  const post = scope.postMessage.bind(scope);
  const channel = new BroadcastChannel('made');
  scope.postMessage = (message, more) => {
    if (Array.isArray(message.result) && message.result[0] instanceof File)
      channel.postMessage(message.result);
    post(message, more);
  };
}

test('of files with several volumes it is asked what they are', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  await inFrontOf(page, workers.data, `(${tellMade.toString()})();`);
  await page.evaluate(() => {
    const made: File[] = [];
    new BroadcastChannel('made').onmessage = ({ data }) => made.push(...(data as File[]));
    Object.assign(globalThis, { made });
  });
  /** The voxels of the images that have been made of the series. */
  const made = async (): Promise<number[][]> => {
    const files = await page.evaluate(async () => {
      const { made: latest } = globalThis as unknown as { made: File[] };
      return Promise.all(latest.splice(0).map(async (file) => [...new Uint8Array(await file.arrayBuffer())]));
    });
    const volumes = await Promise.all(files.map((bytes) => readNifti(Uint8Array.from(bytes))));
    expect(volumes.map(({ shape }) => shape)).toEqual(subjects.map(() => [4, 3, 2]));
    return volumes.map(({ data }) => [...data]);
  };
  // The last one has no label: what is said of the others holds for it.
  const [subjects, times] = [[1, 2, 3], 5];
  const valueAt = (subject: number, voxel: number, time: number) => subject + ((7 * voxel) % 11) + time ** 2;
  const files: Record<string, Promise<Uint8Array>> = {};
  for (const subject of subjects) {
    const value = (at: number) => valueAt(subject, at % 24, Math.floor(at / 24));
    files[`images/case_${subject}.nii.gz`] = volume(value, times);
    if (subject < 3) files[`labels/case_${subject}.nii.gz`] = halves(1);
  }
  const folder = await folderOf(files);
  const answer = async (text: string): Promise<string[]> => {
    await open(page, folder);
    await page.getByRole('button', { name: text }).click();
    await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
    const reasons = await page.locator('details li').allTextContents();
    await page.getByRole('button', { name: 'Start over' }).click();
    return reasons.filter((reason) => reason.includes('channel 5'));
  };
  const voxels = Array.from({ length: 24 }, (_, voxel) => voxel);
  expect(await answer('Moments in time: use the first')).toEqual([]);
  expect(await made()).toEqual(subjects.map((subject) => voxels.map((voxel) => valueAt(subject, voxel, 0))));
  expect(await answer('Moments in time: use their mean')).toEqual([]);
  // The mean of 0, 1, 4, 9 and 16 is 6.
  expect(await made()).toEqual(
    subjects.map((subject) => voxels.map((voxel) => valueAt(subject, voxel, 0) + 6)),
  );
  expect(await answer('5 channels of one image')).toHaveLength(1);
  await page.close();
});

test('DICOM series of a folder of patients are volumes at their place', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const series = obliqueSeries(3);
  const files: Record<string, Uint8Array | Promise<Uint8Array>> = {};
  for (let slice = 0; slice < series.slices; slice++) {
    // In an order that is not that of the slices, and without endings.
    files[`images/patient_1/IM${(7 * slice) % 5}`] = dicomFile(series, slice);
    files[`images/patient_2/IM${(7 * slice) % 5}`] = dicomFile(series, slice);
  }
  const page = await visit();
  const patients = await folderOf(files);
  // The program is long in coming: who does not wait for it has no data, and can begin again.
  const held: Route[] = [];
  await page.route('**/dcm2niix*', (route) => void held.push(route));
  await open(page, patients);
  await page.getByText('Converting 0 of 2 folders of DICOM files').waitFor();
  await expect.poll(() => held.length, { timeout: 60_000 }).toBeGreaterThan(0);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('.busy').waitFor({ state: 'detached' });
  await page.getByText('No data at hand?').waitFor();
  await page.unroute('**/dcm2niix*');
  for (const route of held) await route.continue().catch(() => undefined);
  expect(await chooseDicom(page, patients)).toBe('10 DICOM files of 2 folders: 2 volumes.');
  expect(await page.locator('.cases-table th[scope=row]').allTextContents()).toEqual([
    'patient_1',
    'patient_2',
  ]);
  const bytes = await volumeOfFolder(page, 'patient_1');
  const { data, shape, affine: found } = await readNifti(bytes);
  // What Debian's dcm2niix makes of it, as nibabel reads that.
  const reference = JSON.parse(readFileSync('test/fixtures/dicom/oblique.json', 'utf8')) as {
    shape: number[];
    affine: number[];
    data: number[];
  };
  expect(shape).toEqual(reference.shape);
  expect([...data]).toEqual(reference.data);
  for (const [at, value] of reference.affine.entries()) expect(found[at]).toBeCloseTo(value, 4);
  // And where the attributes of the files place each voxel.
  for (let k = 0; k < shape[2]!; k++)
    for (let j = 0; j < shape[1]!; j++)
      for (let i = 0; i < shape[0]!; i++) {
        const at = [i, j, k, 1];
        const place = [0, 4, 8].map((line) => at.reduce((sum, n, axis) => sum + n * found[line + axis]!, 0));
        // The patient's x and y run the other way round in DICOM.
        const value = data[i + shape[0]! * (j + shape[1]! * k)]! - 1;
        const [x, y, slice] = [value % 16, Math.floor(value / 16) % 16, Math.floor(value / 256)];
        const corner = series.position(slice);
        const expected = [0, 1, 2].map(
          (axis) =>
            (corner[axis]! + 1.25 * x * series.row[axis]! + 1.5 * y * series.column[axis]!) *
            (axis < 2 ? -1 : 1),
        );
        for (const axis of [0, 1, 2]) expect(place[axis]).toBeCloseTo(expected[axis]!, 3);
      }
  await page.close();
});

test('no view is too wide or skips a level of headings; a volume too large to be drawn without a GPU says so', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit();
  const long =
    'a_name_that_is_as_long_as_those_of_files_from_a_scanner_sometimes_are_2026-11-29_T1_mprage_sag';
  const shape = [129, 128, 128]; // more than two million voxels
  const data = Uint8Array.from({ length: 129 * 128 * 128 }, (_, voxel) => (voxel % 129 < 64 ? 0 : 1));
  const large = await writeNifti({ data, shape, affine });
  await open(
    page,
    await folderOf({
      [`images/${long}.nii.gz`]: large,
      [`labels/${long}.nii.gz`]: large,
      'images/z_small.nii.gz': image(1),
      'labels/z_small.nii.gz': halves(1),
    }),
  );
  const tab = (name: string) => page.getByRole('tab', { name }).click();
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  const adapter = page.locator('#device', { hasText: /^(Processor|GPU): / });
  const withoutGpu = (await adapter.textContent())!.startsWith('Processor');

  await page.setViewportSize({ width: narrowWidths[0], height: 800 });
  await tab('See');
  await page.getByRole('group', { name: 'Cases' }).getByTitle(long).click();
  await page.getByLabel('White at').and(page.locator(':enabled')).waitFor(); // its volume is there
  if (withoutGpu) {
    await page.getByText(/^Shown with 65 × 128 × 128 of its 129 × 128 × 128 voxels/).waitFor();
    await page.getByText('3-D is drawn where it is chosen').waitFor();
  }
  await expectToFitNarrow(page, 'See');
  await tab('Annotate');
  await page.getByRole('group', { name: 'Tools' }).waitFor();
  await expectToFitNarrow(page, 'Annotate');
  for (const name of ['Data', 'Train', 'Use', 'Models', 'Explain']) {
    await tab(name);
    await page.locator('.busy').waitFor({ state: 'detached' });
    await expectToFitNarrow(page, name);
  }

  // The self-test is loaded when it is asked for, and ends when that is.
  const scripts = () =>
    page.evaluate(
      () => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.js')).length,
    );
  const before = await scripts();
  await page.getByRole('button', { name: 'Run the self-test', exact: true }).click();
  await page.getByText(/\(\d+ of \d+ parts are done\)/).waitFor();
  expect(await scripts()).toBeGreaterThan(before);
  await page.getByRole('button', { name: 'Cancel: Run the self-test' }).click();
  await page.getByRole('button', { name: 'Run the self-test', exact: true }).waitFor();
  await page.close();
});

test('nothing broke the content security policy, and no error went unseen', () => {
  expect(complaints).toEqual([]);
});
