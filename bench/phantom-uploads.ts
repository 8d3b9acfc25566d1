/** Phantoms as files for the pickers of the page. */
import { phantom, writeNifti, type Size3 } from '../src/node.ts';

/** As Playwright's `setInputFiles` takes them. */
interface Upload {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

/** So many cases of this size, each an image and a label. */
export async function phantomUploads(
  count: number,
  shape: Size3,
): Promise<Record<'images' | 'labels', Upload[]>> {
  const files = { images: [] as Upload[], labels: [] as Upload[] };
  for (let subject = 0; subject < count; subject++) {
    const { image, labels, affine } = phantom(subject, { shape });
    for (const [kind, data] of [['images', image] as const, ['labels', labels] as const])
      files[kind].push({
        name: `case_${subject}.nii.gz`,
        mimeType: 'application/gzip',
        buffer: Buffer.from(await writeNifti({ data, shape, affine })),
      });
  }
  return files;
}
