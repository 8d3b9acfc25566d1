/** What a visitor of the browser example may do again and again: train, segment with what came of it, look. */
import type { Page } from 'playwright';

export interface Round {
  readonly epochs: number;
  /** A volume to segment. */
  readonly name: string;
  readonly file: Buffer;
}

const tab = (page: Page, name: string) => page.getByRole('tab', { name }).click();
const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
const drawn = (page: Page) => page.getByLabel('White at').and(page.locator(':enabled')).waitFor();

/** Picks a file. Playwright would hold on to the picker, and to all that belongs to it, until the page is left. */
async function choose(page: Page, label: string, { name, file }: Round): Promise<void> {
  await page.evaluate(
    ([label, name, base64]) => {
      const input = document.querySelector<HTMLInputElement>(`input[aria-label="${label}"]`)!;
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], name));
      input.files = transfer.files;
      input.dispatchEvent(new Event('change'));
    },
    [label, name, file.toString('base64')] as const,
  );
}

/** Trains a network of the page's data. */
export async function train(page: Page, { epochs }: Pick<Round, 'epochs'>): Promise<void> {
  await tab(page, 'Train');
  const again = page.getByRole('button', { name: 'New training' });
  await again.or(page.getByLabel('Epochs')).waitFor();
  if (await again.isVisible()) await again.click();
  await page.getByLabel('Epochs').fill(String(epochs));
  await page.getByLabel('Epochs').press('Tab');
  await page.getByLabel('Features per level').selectOption('8,16');
  await page.getByLabel('Augmentation').selectOption('none');
  await press(page, 'Start training');
  await page.getByText(/^Done after \d+ epochs?\./).waitFor();
}

/** Segments a volume with the open network, looks at it and forgets it. */
export async function segment(page: Page, round: Round): Promise<void> {
  await tab(page, 'Use');
  await choose(page, 'Choose volumes', round);
  await page.getByRole('button', { name: `Download the labels of ${round.name}` }).waitFor();
  await drawn(page);
  await press(page, 'Forget these results');
}

/** Looks at a case. */
export async function look(page: Page): Promise<void> {
  await tab(page, 'See');
  await drawn(page);
}

/** Of a page that has data and says yes to its questions; it is left at "Data", with the training open that was the last. */
export async function trainSegmentLook(page: Page, round: Round): Promise<void> {
  await train(page, round);
  await press(page, 'Use this network');
  await segment(page, round);
  await look(page);
  await press(page, 'Segment this case');
  await page.getByRole('heading', { name: 'Prediction' }).waitFor();
  await page.getByRole('button', { name: 'Segment this case', exact: true }).waitFor();
  await tab(page, 'Data');
}
