/** What an element of a page looks like, in numbers. */
import type { Locator } from 'playwright';

/** Runs in the page: of a picture's pixels the mean of the grey ones, 0 to 255, how many have a colour, and a sum of all. */
async function measured(_: Element, base64: string) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  const context = new OffscreenCanvas(image.width, image.height).getContext('2d')!;
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  let [sum, greys, coloured, hash] = [0, 0, 0, 0];
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = [data[at]!, data[at + 1]!, data[at + 2]!];
    hash = (Math.imul(hash, 31) + red + 256 * green + 65536 * blue) | 0;
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > 24) coloured++;
    else {
      sum += red;
      greys++;
    }
  }
  return { grey: sum / greys, coloured, hash };
}

export type Look = Awaited<ReturnType<typeof measured>>;

export async function lookOf(element: Locator): Promise<Look> {
  const picture = await element.screenshot();
  return element.evaluate(measured, picture.toString('base64'));
}
