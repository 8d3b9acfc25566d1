/**
 * One small data set for pages, twice: as one would wish it, and in forms that people have: labels in another axis order
 * than their images, gzip of several members, .hdr/.img pairs, no dataset.json. Both mean the same voxels.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { phantom } from '../../src/data/phantom.ts';
import { writeNifti } from '../../src/node.ts';
import { turned } from '../cli/support.ts';

/** A file as a person picks it. */
export interface Picked {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

export const picked = (name: string, bytes: Uint8Array): Picked => ({
  name,
  mimeType: 'application/octet-stream',
  buffer: Buffer.from(bytes),
});

/** Voxels of x below this are unknown. */
export const unknownColumns = 3;
export const shape: [number, number, number] = [10, 8, 6];
/** What unknown voxels hold: in the tidy files, as dataset.json says, and in the others, as a visitor has to say. */
const unknown = { tidy: 255, odd: 200 };

/** Millimetres along x, y, z. */
type Spacing = readonly [number, number, number];

function volumes(subject: number, spacing?: Spacing) {
  const made = phantom(subject, { shape });
  const { image, labels } = made;
  const [x, y, z] = spacing ?? [];
  const affine = spacing ? [x!, 0, 0, 0, 0, y!, 0, 0, 0, 0, z!, 0, 0, 0, 0, 1] : made.affine;
  const marked = (value: number) =>
    Float32Array.from(labels, (label, at) => (at % shape[0] < unknownColumns ? value : label));
  const volume = (data: Float32Array) => ({ data, shape: [...shape], affine });
  return { image: volume(image), tidy: volume(marked(unknown.tidy)), odd: volume(marked(unknown.odd)) };
}

type Volume = ReturnType<typeof volumes>['image'];
const file = async (volume: Volume, gzip: boolean): Promise<Uint8Array> => writeNifti(volume, { gzip });

type Labels = Readonly<Record<string, number | readonly number[]>>;

const classes: Labels = Object.fromEntries(
  ['background', 'class 1', 'class 2', 'class 3', 'class 4', 'class 5'].map((name, value) => [name, value]),
);

/** Regions of the same voxels: of the whole, and of what is inside. */
export const regions = { body: [1, 2, 3, 4, 5], inside: [2, 3, 4, 5] } as const;

/** Three cases in nnU-Net's layout; the folder. */
export async function tidyFolder(spacing?: Spacing, labels = classes, more = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'unet3d-page-'));
  for (const name of ['imagesTr', 'labelsTr']) mkdirSync(join(folder, name));
  for (const subject of [1, 2, 3]) {
    const { image, tidy } = volumes(subject, spacing);
    writeFileSync(join(folder, `imagesTr/case_${subject}_0000.nii.gz`), await file(image, true));
    writeFileSync(join(folder, `labelsTr/case_${subject}.nii.gz`), await file(tidy, true));
  }
  const description = {
    ...{ channel_names: { 0: 'MR' }, numTraining: 3, file_ending: '.nii.gz' },
    ...{ labels: { ...labels, ignore: unknown.tidy }, ...more },
  };
  writeFileSync(join(folder, 'dataset.json'), JSON.stringify(description));
  return folder;
}

/** The same cases with `regions` in the place of classes, each written as the first label of its own. */
export const regionsFolder = (): Promise<string> =>
  tidyFolder(undefined, { background: 0, ...regions }, { regions_class_order: [1, 2] });

/** A .nii as the two files of a pair. */
function pair(name: string, nii: Uint8Array, gzip = false): Picked[] {
  const header = nii.slice(0, 348);
  header.set(
    [...'ni1\0'].map((letter) => letter.charCodeAt(0)),
    344,
  );
  new DataView(header.buffer).setFloat32(108, 0, true);
  const half = (ending: string, bytes: Uint8Array) =>
    picked(`${name}.${ending}${gzip ? '.gz' : ''}`, gzip ? gzipSync(bytes) : bytes);
  return [half('hdr', header), half('img', nii.subarray(352))];
}

/** Gzip of two members, as bgzip and concatenation make it. */
export const twoMembers = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([gzipSync(bytes.subarray(0, 1000)), gzipSync(bytes.subarray(1000))]);

/** The cases of `tidyFolder` in three odd forms each, and the value of their unknown voxels. */
export async function oddFiles(): Promise<{ images: Picked[]; labels: Picked[]; unknown: number }> {
  const [one, two, three] = [volumes(1), volumes(2), volumes(3)];
  const otherAxes = (volume: Volume, gzip: boolean) => file(turned(volume), gzip);
  return {
    images: [
      picked('case_1.nii.gz', twoMembers(await file(one.image, false))),
      ...pair('case_2', await file(two.image, false)),
      picked('case_3.nii.gz', await file(three.image, true)),
    ],
    labels: [
      picked('case_1.nii.gz', await otherAxes(one.odd, true)),
      picked('case_2.nii', await otherAxes(two.odd, false)),
      ...pair('case_3', await file(three.odd, false), true),
    ],
    unknown: unknown.odd,
  };
}
