/**
 * The browser example for who has no labels: scans in odd orientations are drawn on, found again after a reload, saved on
 * their own grids, trained on, and what the network makes of them is corrected and trained on again.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { chromium as playwright, type Browser, type Page } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromium } from '../../scripts/chromium.ts';
import { readNifti, writeNifti, type Volume } from '../../src/node.ts';
import { serveExample, type Site } from '../support/site.ts';
import { deviceScaleFactor, patience, visitPage } from '../support/visit.ts';

const launch = chromium();
const complaints: string[] = [];
const folder = mkdtempSync(join(tmpdir(), 'unet3d-scans-'));
const beside = mkdtempSync(join(tmpdir(), 'unet3d-scans-'));
let site: Site;
let browser: Browser | undefined;

const shape = [18, 16, 12] as const;
/** To the front, downwards, to the left, and a little oblique; another one downwards, to the right, backwards. */
const affines = [
  [0, 0, -1, 9, 1, 0, 0, -8, 0, -1, 0, 6, 0, 0, 0, 1],
  [0, 1, 0, -20, 0, 0, -1, 30, -1, 0, 0, 9, 0, 0, 0, 1],
] as const;
const names = ['scan_1', 'scan_2'];

beforeAll(async () => {
  for (const [index, affine] of affines.entries()) {
    const data = Float32Array.from({ length: 18 * 16 * 12 }, (_, voxel) => {
      const place = [voxel % 18, Math.floor(voxel / 18) % 16, Math.floor(voxel / 288)];
      const distance = Math.hypot(...place.map((at, axis) => at - (shape[axis]! - 1) / 2));
      return (distance < 5 ? 100 : 10) + ((voxel * (7 + index)) % 5);
    });
    const bytes = await writeNifti({ data, shape: [...shape], affine: [...affine] });
    writeFileSync(join(folder, `${names[index]}.nii.gz`), bytes);
  }
  site = await serveExample();
  if (launch) browser = await playwright.launch({ ...launch, headless: true });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
  for (const path of [folder, beside]) rmSync(path, { recursive: true });
});

async function takeFolder(page: Page, from = folder): Promise<void> {
  await page.getByRole('tab', { name: 'Data' }).click();
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('button', { name: 'Choose a folder' }).click();
  await (await chooser).setFiles(from);
}

/** A folder beside the one of the scans, removed with it. */
function folderOf(name: string, files: Readonly<Record<string, Uint8Array>>): string {
  const path = join(beside, name);
  for (const [file, bytes] of Object.entries(files)) {
    mkdirSync(join(path, dirname(file)), { recursive: true });
    writeFileSync(join(path, file), bytes);
  }
  return path;
}

const boardStatus = (page: Page) => page.locator('.annotate p.quiet[role=status]');
const openCase = async (page: Page, name: string): Promise<void> => {
  await page.getByRole('group', { name: 'Cases' }).getByRole('button', { name }).click();
  await page.getByRole('button', { name: 'Undo' }).and(page.locator(':disabled')).waitFor();
  await boardStatus(page)
    .getByText(/drawn|complete/)
    .waitFor();
};

/** Draws through points, in pixels from the middle of the board. */
async function stroke(page: Page, points: readonly (readonly [number, number])[]): Promise<void> {
  const canvas = page.locator('.board canvas');
  await canvas.scrollIntoViewIfNeeded();
  const box = (await canvas.boundingBox())!;
  const [first, ...others] = points.map(
    ([x, y]) => [box.x + box.width / 2 + x, box.y + box.height / 2 + y] as const,
  );
  await page.mouse.move(...first!);
  await page.mouse.down();
  for (const point of others) await page.mouse.move(...point);
  await page.mouse.up();
}

const circle = (radius: number): (readonly [number, number])[] =>
  Array.from({ length: 17 }, (_, at) => {
    const angle = (at * Math.PI) / 8;
    return [radius * Math.cos(angle), radius * Math.sin(angle)] as const;
  });

/**
 * Runs in the page: what is kept in a table.
 * @param isLater changes the rows before, as another tab does that has changed what is drawn
 */
async function keptRows({
  table,
  isLater = false,
}: {
  table: string;
  isLater?: boolean;
}): Promise<unknown[]> {
  const asked = <T>(request: IDBRequest<T>) =>
    new Promise<T>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error!);
    });
  const database = await asked(indexedDB.open('unet3d-gpu-example'));
  const store = database.transaction(table, 'readwrite').objectStore(table);
  const rows = (await asked(store.getAll())) as { changed: Date }[];
  for (const row of isLater ? rows : []) {
    row.changed = new Date(row.changed.getTime() + 1);
    await asked(store.put(row));
  }
  database.close();
  return rows;
}

/** How many names of classes each kept drawing has. */
async function namesKept(page: Page): Promise<number[]> {
  const rows = await page.evaluateHandle(keptRows, { table: 'drawings' });
  return rows.evaluate((all) => (all as { names: string[] }[]).map(({ names }) => names.length).sort());
}

/** When what is drawn is said to have been changed in another tab. */
async function drawElsewhere(page: Page): Promise<number[]> {
  const rows = await page.evaluateHandle(keptRows, { table: 'drawings', isLater: true });
  return rows.evaluate((all) => (all as { changed: Date }[]).map(({ changed }) => changed.getTime()).sort());
}

/** When the labels that were trained on were drawn. */
async function labelTimes(page: Page): Promise<number[]> {
  const rows = await page.evaluateHandle(keptRows, { table: 'data' });
  return rows.evaluate((all) =>
    (all as { cases: { label: File }[] }[])
      .flatMap(({ cases }) => cases.map(({ label }) => label.lastModified))
      .sort(),
  );
}

async function saved(page: Page): Promise<Volume> {
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save as NIfTI' }).click();
  return readNifti(readFileSync(await (await download).path()));
}

/** Where the voxels with a value lie on average, in millimetres. */
function placeOf({ data, affine, shape }: Volume, value: number): number[] {
  const [nx, ny] = shape as [number, number, number];
  const sum = [0, 0, 0];
  let count = 0;
  data.forEach((label, voxel) => {
    if (label !== value) return;
    const at = [voxel % nx, Math.floor(voxel / nx) % ny, Math.floor(voxel / (nx * ny)), 1];
    count++;
    for (const row of [0, 1, 2])
      sum[row]! += at.reduce((total, n, axis) => total + n * affine[4 * row + axis]!, 0);
  });
  return sum.map((total) => total / count);
}

test('scans without labels are drawn on, kept, saved on their grids, trained on and corrected', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visitPage(browser, site.address, complaints);
  await takeFolder(page);
  await page.getByRole('button', { name: 'No labels: annotate some' }).click();
  for (const name of names) {
    await openCase(page, name);
    await page.keyboard.press('b');
    await page.keyboard.press('1');
    await stroke(page, [[0, 0]]);
    await page.getByRole('button', { name: 'Add a class' }).click();
    await page.keyboard.press('Tab'); // leaves the name
    await page.getByRole('button', { name: 'Draw class 2' }).click();
    await stroke(page, [[-150, -100]]);
    await page.getByText('1 slice drawn in this plane, 0 complete').waitFor();
  }
  // Both strokes of each are kept: the last one knows the class that was added before it.
  await expect.poll(() => namesKept(page), { timeout: 60_000 }).toEqual([3, 4]);
  await page.reload();
  await takeFolder(page);
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor(); // the drawings are their labels
  await page.getByRole('tab', { name: 'Annotate' }).click();
  for (const [index, name] of names.entries()) {
    await openCase(page, name);
    const labels = await saved(page);
    expect(labels.affine.map((value, at) => value - affines[index]![at]!)).toSatisfy(
      (differences: number[]) => differences.every((difference) => Math.abs(difference) < 1e-5),
    );
    expect(new Set(labels.data)).toEqual(new Set([1, 2, 255]));
    // At the left of the picture is the patient's right, and at its top the front.
    const [from, to] = [placeOf(labels, 1), placeOf(labels, 2)];
    const [right, front, up] = to.map((mm, axis) => mm - from[axis]!) as [number, number, number];
    expect(right).toBeGreaterThan(2);
    expect(front).toBeGreaterThan(1);
    expect(Math.abs(up)).toBeLessThan(1.5);
    expect(Math.abs(right / front - 1.5)).toBeLessThan(0.75); // to a voxel
  }

  // A scripted annotator: one slice of each scan, in which nothing else is.
  for (const name of names) {
    await openCase(page, name);
    await page.keyboard.press('o');
    await page.keyboard.press('1');
    await stroke(page, circle(120));
    await page.keyboard.press('c');
    await page.getByText('1 slice drawn in this plane, 1 complete').waitFor();
  }
  await page.keyboard.press('Control+z');
  await page.getByText('1 slice drawn in this plane, 0 complete').waitFor();
  await page.keyboard.press('Control+Shift+z');
  await page.getByText('1 slice drawn in this plane, 1 complete').waitFor();
  const train = async (): Promise<void> => {
    await page.getByRole('button', { name: 'Use this network' }).waitFor();
    await page.getByRole('tab', { name: 'Annotate' }).click();
  };
  await page.getByRole('button', { name: 'Train on 2 annotated cases' }).click();
  await page.getByLabel('Epochs').fill('1');
  await page.getByLabel('Epochs').press('Tab');
  await page.getByLabel('Features per level').selectOption('8,16');
  await page
    .getByText('Batches are augmented as by nnU-Net: turned, scaled, mirrored along x, y and z')
    .waitFor();
  const changed = await drawElsewhere(page);
  await page.getByRole('button', { name: 'Start training' }).click();
  await train();
  expect(await labelTimes(page)).toEqual(changed);
  await page.getByRole('button', { name: 'Accept in this slice' }).waitFor();
  await expect.poll(() => page.getByRole('button', { name: 'Stop' }).count(), { timeout: 60_000 }).toBe(0);
  await page.getByText('too few to tell').waitFor();
  // What shows the same stays there while something else changes: a click that has begun is not lost.
  const shown = [
    page.getByRole('button', { name: 'Accept all of it' }),
    page.getByRole('group', { name: 'Cases' }).getByRole('button').first(),
  ];
  const before = await Promise.all(shown.map((button) => button.elementHandle()));
  await page.keyboard.press('b');
  for (const element of before) expect(await element.evaluate(({ isConnected }) => isConnected)).toBe(true);
  // In one slice, of a class and of all, and then in all.
  await page.keyboard.press('1');
  for (let step = 0; step < 3; step++) await page.keyboard.press('ArrowUp');
  const unaccepted = await saved(page);
  await page.getByRole('button', { name: 'Accept class 1 only, in this slice' }).click();
  const accepted = await saved(page);
  expect(accepted.data.every((value, at) => value === unaccepted.data[at] || value === 1)).toBe(true);
  await page.getByRole('button', { name: 'Accept in this slice' }).click();
  await page.getByText('2 complete').waitFor();
  await page.getByRole('button', { name: 'Accept all of it' }).click();
  await page.getByText('The whole case is complete:').waitFor();
  // The next one is where the network is least sure, once it has looked at it.
  const others = page.getByRole('button', { name: 'Propose for 1 case' });
  const unsure = page.getByRole('button', { name: /^Next: scan_., where the network is least sure/ });
  await others.or(unsure).click();
  const next = /scan_./.exec((await unsure.textContent())!)![0];
  await unsure.click();
  await page
    .getByRole('group', { name: 'Cases' })
    .locator('[aria-current=true]', { hasText: next })
    .waitFor();
  await page.getByRole('button', { name: 'Go on training from the present network' }).click();
  await page.getByText(`It goes on from the weights of ${basename(folder)}, `).waitFor();
  await train();
  await expect.poll(() => page.locator('.annotate tbody tr').count(), { timeout: 60_000 }).toBe(2);

  // Elsewhere, without the files.
  await openCase(page, names[1]!);
  const here = await saved(page);
  const download = page.waitForEvent('download');
  await page.getByRole('tab', { name: 'Models' }).click();
  await page.getByRole('button', { name: 'Save as a project' }).click();
  const project = await (await download).path();
  const elsewhere = await browser.newContext({
    acceptDownloads: true,
    serviceWorkers: 'block',
    deviceScaleFactor,
  });
  const other = await elsewhere.newPage();
  other.setDefaultTimeout(patience);
  await other.goto(site.address);
  await other.getByRole('tab', { name: 'Models' }).click();
  await other.getByLabel('Open a project').setInputFiles(project);
  await other.getByText('2 drawings came with it.').waitFor();
  await other.getByText('2 scans with drawings are kept here.').waitFor();
  await other.getByRole('tab', { name: 'Data' }).click(); // with all cases that were at hand
  await other.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  await other.getByRole('tab', { name: 'Annotate' }).click();
  await openCase(other, names[1]!);
  expect((await saved(other)).data).toEqual(here.data);
  expect(complaints).toEqual([]);
});

/** Axis `order[i]` of the file lies along direction i of the patient, in this sense, after which all is turned. */
const orientations = [
  { order: [0, 1, 2], sense: [1, 1, 1], turn: 0 },
  { order: [0, 1, 2], sense: [-1, -1, 1], turn: 0.2 },
  { order: [0, 2, 1], sense: [1, -1, 1], turn: 0 },
  { order: [1, 2, 0], sense: [-1, 1, -1], turn: 0.2 },
  { order: [2, 0, 1], sense: [1, -1, -1], turn: 0 },
  { order: [2, 1, 0], sense: [-1, -1, -1], turn: 0.2 },
] as const;
const spacing = [1.5, 0.75, 2];

function affineOf({ order, sense, turn }: (typeof orientations)[number]): number[] {
  const plain = [0, 1, 2].map((direction) =>
    [0, 1, 2].map((axis) => (order[direction] === axis ? sense[direction]! * spacing[axis]! : 0)),
  );
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const rows = [
    [cos, -sin * cos, sin * sin],
    [sin, cos * cos, -cos * sin],
    [0, sin, cos],
  ];
  const turned = rows.map((row) =>
    [0, 1, 2].map((axis) => row.reduce((sum, value, at) => sum + value * plain[at]![axis]!, 0)),
  );
  return [...turned.flatMap((row, at) => [...row, 10 * at - 9]), 0, 0, 0, 1];
}

/** Planes with the direction across them, and those to the right and downwards on the screen, against which they run. */
const planes = [
  { plane: 'axial', across: 2, right: 0, down: 1 },
  { plane: 'coronal', across: 1, right: 0, down: 2 },
  { plane: 'sagittal', across: 0, right: 1, down: 2 },
] as const;

test('in any orientation, what is drawn lies in the voxels that were pointed at', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visitPage(browser, site.address, complaints, { width: 1000, height: 480 }); // soon drawn
  const size = [11, 14, 9];
  const files: Record<string, Uint8Array> = {};
  for (const [index, orientation] of orientations.entries()) {
    const data = Float32Array.from({ length: 11 * 14 * 9 }, (_, voxel) => (voxel * (3 + 2 * index)) % 17);
    files[`scan_${index}.nii.gz`] = await writeNifti({ data, shape: size, affine: affineOf(orientation) });
  }
  await takeFolder(page, folderOf('orientations', files));
  await page.getByRole('button', { name: 'No labels: annotate some' }).click();
  for (const [index, { order, sense }] of orientations.entries()) {
    await openCase(page, `scan_${index}`);
    await page.keyboard.press('b');
    const drawn = new Float32Array(11 * 14 * 9).fill(255);
    for (const [at, { plane, across, right, down }] of planes.entries()) {
      const value = at % 2;
      await page.keyboard.press(String(value));
      await page.getByLabel('Plane').selectOption(plane);
      // Counted along the patient's directions: to the right, to the front, upwards.
      const voxel = [2 + index, 6 - at, 3 + 2 * at].map((n, direction) => n % size[order[direction]!]!);
      await page.getByLabel('Slice', { exact: true }).fill(String(voxel[across]));
      const { width, height } = (await page.locator('.board canvas').boundingBox())!;
      const mm = (direction: number) => spacing[order[direction]!]!;
      const count = (direction: number) => size[order[direction]!]!;
      const pixels = Math.min(width / (mm(right) * count(right)), height / (mm(down) * count(down)));
      const offset = (direction: number) =>
        -(voxel[direction]! + 0.5 - count(direction) / 2) * mm(direction) * pixels;
      await stroke(page, [[offset(right), offset(down)]]);
      const place = [0, 0, 0];
      for (const direction of [0, 1, 2]) {
        const n = voxel[direction]!;
        place[order[direction]!] = sense[direction]! > 0 ? n : count(direction) - 1 - n;
      }
      drawn[place[0]! + 11 * (place[1]! + 14 * place[2]!)] = value;
    }
    const expected = [...drawn.entries()].filter(([, value]) => value !== 255);
    const found = async () => [...(await saved(page)).data.entries()].filter(([, value]) => value !== 255);
    await expect.poll(found, { message: `scan_${index}`, timeout: 20_000 }).toEqual(expected);
  }
  expect(complaints).toEqual([]);
  await page.close();
});

test('each tool does what it says', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visitPage(browser, site.address, complaints);
  const scan = async (seed: number): Promise<Uint8Array> => {
    const data = Float32Array.from({ length: 18 * 16 * 12 }, (_, voxel) => 10 + ((voxel * seed) % 7));
    return writeNifti({ data, shape: [...shape], affine: [...affines[0]] });
  };
  const label = Uint8Array.from({ length: 18 * 16 * 12 }, (_, voxel) => (voxel % 18 < 6 ? 1 : 0));
  await takeFolder(
    page,
    folderOf('tools', {
      'images/scan_a.nii.gz': await scan(3),
      'images/scan_b.nii.gz': await scan(5),
      'images/scan_c.nii.gz': await scan(11),
      'labels/scan_b.nii.gz': await writeNifti({ data: label, shape: [...shape], affine: [...affines[0]] }),
      'labels/scan_c.nii.gz': await writeNifti({ data: label, shape: [...shape], affine: [...affines[0]] }),
    }),
  );
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  await page.getByRole('tab', { name: 'Annotate' }).click();

  await openCase(page, 'scan_b');
  await page.getByRole('button', { name: 'Begin with its label file' }).click();
  await page.getByText('The whole case is complete:').waitFor();
  expect((await saved(page)).data).toEqual(Float32Array.from(label));

  await openCase(page, 'scan_a');
  const drawn = (slices: number) => boardStatus(page).getByText(`${slices} slice`, { exact: false });
  const count = async (value: number): Promise<number> =>
    (await saved(page)).data.filter((found) => found === value).length;
  const picture = () => page.locator('.board canvas').screenshot();
  await page.keyboard.press('b');
  await page.keyboard.press('1');
  await stroke(page, circle(120));
  await drawn(1).waitFor();
  const ring = await count(1);
  await page.keyboard.press('f');
  await stroke(page, [[0, 0]]);
  await expect.poll(() => count(1)).toBeGreaterThan(ring + 8); // a radius of about four voxels
  const disc = await count(1);
  await page.keyboard.press('e');
  await stroke(page, [[0, 0]]);
  await expect.poll(() => count(1)).toBe(disc - 1);

  // What is drawn goes from the picture in three ways, and comes back.
  const shows = await picture();
  await page.keyboard.press('h');
  await expect.poll(async () => (await picture()).equals(shows), { timeout: 20_000 }).toBe(false);
  const hidden = await picture();
  await page.keyboard.press('h');
  const looksLike = async (other: Buffer): Promise<void> =>
    expect.poll(async () => (await picture()).equals(other), { timeout: 20_000 }).toBe(true);
  const seen = page.getByLabel('Show class 1');
  const opacity = page.getByLabel('Opacity', { exact: true });
  const asBefore = await opacity.inputValue();
  await looksLike(shows);
  for (const [hide, show] of [
    [() => seen.uncheck(), () => seen.check()],
    [() => opacity.fill('0'), () => opacity.fill(asBefore)],
  ] as const) {
    await hide();
    await looksLike(hidden);
    await show();
    await looksLike(shows);
  }

  await page.keyboard.press('b');
  for (let step = 0; step < 2; step++) await page.keyboard.press('ArrowUp');
  await page.keyboard.press('o');
  await stroke(page, circle(120));
  await drawn(2).waitFor();
  await page.getByRole('button', { name: 'Fill between slices' }).click();
  await page.getByText('1 slice filled between drawn ones').waitFor();
  await page.keyboard.press('b');
  await page.keyboard.press('0');
  await stroke(page, [
    [-150, -150],
    [-150, 150],
  ]);
  await expect.poll(() => count(0)).toBeGreaterThan(5);
  const before = await count(1);
  await page.getByRole('button', { name: 'Grow to edges' }).click();
  await expect.poll(() => count(1)).toBeGreaterThan(before);
  await page.keyboard.press('Control+z');
  await expect.poll(() => count(1)).toBe(before);
  await page.close();
});

test('a scan too large to be drawn whole is drawn on slice by slice, on its own grid', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visitPage(browser, site.address, complaints);
  const size = [129, 128, 130] as const; // more than two million voxels
  const data = Uint8Array.from(
    { length: size[0] * size[1] * size[2] },
    (_, voxel) => 50 + (Math.floor(voxel / 129) % 128) + (voxel % 3),
  );
  const affine: readonly number[] = affines[1];
  const large = await writeNifti({ data, shape: [...size], affine: [...affine] });
  await takeFolder(page, folderOf('large', { 'large.nii.gz': large }));
  await page.getByRole('button', { name: 'No labels: annotate some' }).click();
  await boardStatus(page).getByText('Nothing is drawn here yet').waitFor();
  const slice = page.locator('.slice-text');
  const nextTo = async (key: string): Promise<void> => {
    const before = await slice.textContent();
    await page.keyboard.press(key);
    await expect.poll(() => slice.textContent()).not.toBe(before);
  };
  await page.keyboard.press('b');
  await page.keyboard.press('1');
  await stroke(page, [[0, 0]]);
  await page.getByText('1 slice drawn in this plane').waitFor();
  await nextTo('ArrowUp');
  await page.getByRole('button', { name: 'Add a class' }).click();
  await page.keyboard.press('Tab');
  await stroke(page, [[-150, -100]]);
  await page.getByText('2 slices drawn in this plane').waitFor();
  const [first, second] = await saved(page).then((labels) => {
    expect(labels.shape).toEqual([...size]);
    for (const [at, value] of labels.affine.entries()) expect(value).toBeCloseTo(affine[at]!, 5);
    return [placeOf(labels, 1), placeOf(labels, 2)] as const;
  });
  // The middle of the scan's voxels; then one slice up, to the patient's right and to the front.
  const [right, front, up] = second.map((mm, axis) => mm - first[axis]!) as [number, number, number];
  for (const [row, mm] of first.entries()) {
    const middle = size.reduce(
      (sum, n, axis) => sum + (n / 2) * affine[4 * row + axis]!,
      affine[4 * row + 3]!,
    );
    expect(Math.abs(mm - middle)).toBeLessThan(2);
  }
  expect(up).toBeCloseTo(1, 5);
  expect(Math.abs(right / front - 1.5)).toBeLessThan(0.1);

  // Across another axis the strokes are where they are, and what is drawn there is undone in any slice.
  await page.getByLabel('Plane').selectOption('sagittal');
  await page.getByText('2 slices drawn in this plane').waitFor();
  await stroke(page, [
    [-60, 0],
    [60, 0],
  ]);
  await expect.poll(async () => placeOf(await saved(page), 2)).not.toEqual(second);
  const count = async (): Promise<number> => (await saved(page)).data.filter((value) => value === 2).length;
  const before = await count();
  await page.keyboard.press('0');
  await stroke(page, [
    [-60, 60],
    [60, 60],
  ]);
  await page.getByRole('button', { name: 'Grow to edges' }).click();
  await expect.poll(count).toBeGreaterThan(before);
  for (let step = 0; step < 2; step++) await page.keyboard.press('Control+z');
  await expect.poll(count).toBe(before);
  await nextTo('ArrowDown');
  await page.keyboard.press('Control+z');
  await expect.poll(async () => placeOf(await saved(page), 2)).toEqual(second);
  expect(complaints).toEqual([]);
  await page.close();
});
