/** The network that comes with the page, and a case to try it on; both are fetched from its own site when asked for. */
import { button, columnHeads, digits, el } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import { enqueue } from './segmenting.ts';
import starter from './starter.json';
import { state, type OpenModel } from './state.ts';

const folder = 'starter/';
const { model: modelName, image: imageName } = starter;
const licence = 'https://creativecommons.org/licenses/by-sa/4.0/';
const link = (href: string, text: string): HTMLElement => el('a', { href, target: '_blank' }, text);

/** What it reached on cases that it has not seen. */
const figures = (): HTMLElement =>
  el(
    'div',
    { className: 'scroll' },
    el(
      'table',
      { className: 'dice' },
      el('caption', {}, `On ${starter.testCases} test cases`),
      columnHeads(['Part', 'Dice', '95 % interval', 'HD95 (mm)', 'ASSD (mm)']),
      el(
        'tbody',
        {},
        starter.parts.map(({ name, dice, interval, hd95, assd }) =>
          el(
            'tr',
            {},
            el('th', { scope: 'row' }, name),
            [
              digits(dice),
              interval.map((end) => digits(end)).join(' to '),
              digits(hd95, 2),
              digits(assd, 2),
            ].map((text) => el('td', {}, text)),
          ),
        ),
      ),
    ),
  );

async function fetched(name: string, signal: AbortSignal): Promise<File> {
  const response = await fetch(new URL(folder + name, document.baseURI), { signal });
  if (!response.ok) throw new Error(`the site has no file ${folder}${name} (${response.status})`);
  return new File([await response.blob()], name);
}

/** @param open opens a model as the view does, and tells whether it is there */
export const starterOffer = (
  open: (name: string, load: (signal: AbortSignal) => Promise<OpenModel>) => Promise<boolean>,
): HTMLElement =>
  el(
    'div',
    {},
    el(
      'p',
      { className: 'quiet' },
      button('Try the hippocampus model', async () => {
        let image: File | undefined;
        const isOpen = await open(modelName, async (signal) => {
          const [file, example] = await Promise.all(
            [modelName, imageName].map((name) => fetched(name, signal)),
          );
          const model = await KeptModel.open(() => Promise.resolve(file!));
          image = example;
          return model;
        });
        if (isOpen && image && state.modelName === modelName)
          await enqueue([{ path: imageName, source: image }]);
      }),
      ' It finds the two parts of the hippocampus in MR; it comes with a case of the ',
      link(`${folder}README.md`, 'Medical Segmentation Decathlon'),
      '. Both are under ',
      link(licence, 'CC BY-SA 4.0'),
      '. It is for trying the page, not for diagnosis.',
    ),
    figures(),
  );
