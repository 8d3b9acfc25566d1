/** What the browser example makes of DICOM files. */
import type { Page } from 'playwright';

/** Runs in the page: keeps the files that it makes. */
function keepMade(): void {
  const made: File[] = [];
  globalThis.File = new Proxy(File, {
    construct(of, parts: ConstructorParameters<typeof File>) {
      const file = new of(...parts);
      made.push(file);
      return file;
    },
  });
  Object.assign(globalThis, { made });
}

/**
 * Chooses a folder on a page that has no data yet, with the series in folders of their own; returns what the page says of
 * them, in sentences.
 */
export async function chooseDicom(page: Page, folder: string): Promise<string> {
  await page.evaluate(keepMade);
  await page.getByLabel('Choose a folder').setInputFiles(folder);
  return (await page
    .getByText(/\d DICOM file/)
    .first()
    .textContent())!;
}

/** The volume that the page has made of the only series of a folder, as NIfTI. */
export async function volumeOfFolder(page: Page, folder: string): Promise<Uint8Array> {
  const base64 = await page.evaluate(async (name) => {
    const { made } = globalThis as unknown as { made: File[] };
    const reader = new FileReader();
    reader.readAsDataURL(made.find((file) => file.name === name)!);
    await new Promise((resolve) => (reader.onload = resolve));
    return (reader.result as string).split(',')[1]!;
  }, `${folder}.nii.gz`);
  return Buffer.from(base64, 'base64');
}
