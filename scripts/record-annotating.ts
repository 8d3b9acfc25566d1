/**
 * Records the page while scans without labels are annotated, trained on and corrected, as a GIF (docs/annotating.gif):
 *   node --import tsx scripts/record-annotating.ts [OUT]
 * The scans are made here: a body with a bright and a grey organ, which a hand that knows where they are draws around.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium as playwright, type Page } from 'playwright';
import { chromium } from './chromium.ts';
import { random } from '../src/data/random.ts';
import { writeNifti } from '../src/node.ts';
import { encodeGif } from '../src/report/gif.ts';
import type { Picture } from '../src/report/raster.ts';
import { serveExample } from '../test/support/site.ts';
import { visitPage } from '../test/support/visit.ts';

const out = process.argv[2] ?? 'docs/annotating.gif';
const edge = 48;
const planes = 24;
const scans = ['scan_1', 'scan_2', 'scan_3'] as const;
/** Pixels of the recording. */
const viewport = { width: 860, height: 700 };
/** For which each picture stays. */
const delay = 450;

/** An organ: its middle and radii in voxels, and its grey value. */
type Organ = readonly [middle: readonly number[], radii: readonly number[], value: number];

const organsOf = (scan: number): readonly Organ[] => [
  [[24, 24, 12], [20, 16, 30], 60],
  [[16 + scan, 24 + scan, 11 + scan], [6, 7 - scan, 6], 130],
  [[31, 21 + 2 * scan, 12], [5 + scan, 5, 7], 95],
];

const isWithin = ([middle, radii]: Organ, at: readonly number[]): boolean =>
  at.reduce((sum, place, axis) => sum + ((place - middle[axis]!) / radii[axis]!) ** 2, 0) <= 1;

async function scanFile(scan: number): Promise<Uint8Array> {
  const [organs, noise] = [organsOf(scan), random(scan, 'scans')];
  const data = Float32Array.from({ length: edge * edge * planes }, (_, voxel) => {
    const at = [voxel % edge, Math.floor(voxel / edge) % edge, Math.floor(voxel / edge ** 2)];
    return (organs.findLast((organ) => isWithin(organ, at))?.[2] ?? 5) + 12 * noise.normal();
  });
  const affine = [1, 0, 0, -edge / 2, 0, 1, 0, -edge / 2, 0, 0, 1, -planes / 2, 0, 0, 0, 1];
  return writeNifti({ data, shape: [edge, edge, planes], affine });
}

/** Where the edge of an organ lies in a plane, in voxels from the middle of the display: the right, and what is below. */
function outline([middle, radii]: Organ, plane: number): (readonly [number, number])[] {
  const [x, y, z] = middle as [number, number, number];
  const share = Math.sqrt(Math.max(0, 1 - ((plane - z) / radii[2]!) ** 2));
  return Array.from({ length: 25 }, (_, at) => {
    const angle = (at * Math.PI) / 12;
    const [right, up] = [x + share * radii[0]! * Math.cos(angle), y + share * radii[1]! * Math.sin(angle)];
    return [(edge - 1) / 2 - right, (edge - 1) / 2 - up]; // the patient's right is at the left
  });
}

async function stroke(page: Page, points: readonly (readonly [number, number])[]): Promise<void> {
  const box = (await page.locator('.board canvas').boundingBox())!;
  const pixels = Math.min(box.width, box.height) / edge;
  const [first, ...others] = points.map(
    ([x, y]) => [box.x + box.width / 2 + x * pixels, box.y + box.height / 2 + y * pixels] as const,
  );
  await page.mouse.move(...first!);
  await page.mouse.down();
  for (const point of others) await page.mouse.move(...point);
  await page.mouse.up();
}

/** What the page shows; its own canvas turns the screenshot into pixels. */
async function picture(page: Page): Promise<Picture> {
  const png = (await page.screenshot()).toString('base64');
  const pixels = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')!;
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let text = '';
    for (let at = 0; at < data.length; at += 8192)
      text += String.fromCharCode(...data.subarray(at, at + 8192));
    return btoa(text);
  }, png);
  return { ...viewport, data: new Uint8Array(Buffer.from(pixels, 'base64')) };
}

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine');
const folder = mkdtempSync(join(tmpdir(), 'unet3d-scans-'));
for (const [index, name] of scans.entries())
  writeFileSync(join(folder, `${name}.nii.gz`), await scanFile(index));
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });
const frames: Picture[] = [];
try {
  const page = await visitPage(browser, site.address, [], viewport);
  const shoot = async (times = 1): Promise<void> => {
    const taken = await picture(page);
    for (let time = 0; time < times; time++) frames.push(taken);
  };
  const show = (name: string): Promise<void> => page.getByRole('button', { name }).click();
  const board = page.locator('.board canvas');

  await page.getByRole('tab', { name: 'Data' }).click();
  const chooser = page.waitForEvent('filechooser');
  await show('Choose a folder');
  await (await chooser).setFiles(folder);
  await page.getByRole('button', { name: 'No labels: annotate some' }).waitFor();
  await shoot(3);
  await show('No labels: annotate some');
  for (const [index, name] of scans.slice(0, 2).entries()) {
    await page.getByRole('group', { name: 'Cases' }).getByRole('button', { name }).click();
    await page
      .locator('.annotate p.quiet[role=status]')
      .getByText(/drawn|complete/)
      .waitFor();
    if (index === 0) {
      await show('Add a class');
      for (const [at, organ] of ['liver', 'kidney'].entries()) {
        await page.locator('.classes input[type=text]').nth(at).fill(organ);
        await page.keyboard.press('Tab'); // leaves the name
      }
    }
    await board.scrollIntoViewIfNeeded();
    const [, ...organs] = organsOf(index);
    let plane = planes / 2;
    for (const next of [plane, plane + 4, plane - 4]) {
      for (; plane !== next; plane += Math.sign(next - plane))
        await page.keyboard.press(next > plane ? 'ArrowUp' : 'ArrowDown');
      await page.keyboard.press('o');
      for (const [at, organ] of organs.entries()) {
        await page.keyboard.press(`${at + 1}`);
        await stroke(page, outline(organ, plane));
        await shoot();
      }
      await page.keyboard.press('c');
    }
    await page.keyboard.press('i');
    await shoot(2);
  }
  await page.getByRole('button', { name: /Train on \d annotated cases/ }).click();
  await page.getByLabel('Epochs').fill('40');
  await page.getByLabel('Epochs').press('Tab');
  await shoot(2);
  await show('Start training');
  const isDone = page.getByRole('button', { name: 'Use this network' });
  for (let time = 0; time < 8 && !(await isDone.isVisible()); time++) {
    await page.waitForTimeout(3000);
    await shoot();
  }
  await isDone.waitFor({ timeout: 600_000 });
  await shoot(2);
  await page.getByRole('tab', { name: 'Annotate' }).click();
  await page.getByRole('group', { name: 'Cases' }).getByRole('button', { name: scans[2] }).click();
  await page.getByRole('button', { name: 'Accept in this slice' }).waitFor();
  await board.scrollIntoViewIfNeeded();
  await shoot(4);
  await show('Accept liver only, in this slice');
  await board.scrollIntoViewIfNeeded();
  await shoot(3);
  await page
    .getByRole('button', { name: 'Go on training from the present network' })
    .scrollIntoViewIfNeeded();
  await shoot(4);
} finally {
  writeFileSync(out, encodeGif(frames, { delay }));
  await browser.close();
  site.close();
  rmSync(folder, { recursive: true });
}
console.log(`${frames.length} pictures in ${out}`);
