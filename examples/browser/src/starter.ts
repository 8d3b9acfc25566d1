/** The network that comes with the page, and a case to try it on; both are fetched from its own site when asked for. */
import { button, el } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import { enqueue } from './segmenting.ts';
import { state, type OpenModel } from './state.ts';

const folder = 'starter/';
const [modelName, imageName] = ['hippocampus.safetensors', 'hippocampus_225.nii.gz'];

async function fetched(name: string, signal: AbortSignal): Promise<File> {
  const response = await fetch(new URL(folder + name, document.baseURI), { signal });
  if (!response.ok) throw new Error(`the site has no file ${folder}${name} (${response.status})`);
  return new File([await response.blob()], name);
}

/** @param open opens a model as the view does, and tells whether that was not cancelled */
export const starterOffer = (
  open: (name: string, load: (signal: AbortSignal) => Promise<OpenModel>) => Promise<boolean>,
): HTMLElement =>
  el(
    'p',
    { className: 'quiet' },
    button('Try the hippocampus model', async () => {
      let image: File | undefined;
      const isOpen = await open(modelName, async (signal) => {
        const [file, example] = await Promise.all(
          [modelName, imageName].map((name) => fetched(name, signal)),
        );
        const model = await KeptModel.open(async () => new Uint8Array(await file!.arrayBuffer()));
        image = example;
        return model;
      });
      if (isOpen && image && state.modelName === modelName)
        await enqueue([{ path: imageName, source: image }]);
    }),
    ' It finds the two parts of the hippocampus in MR; it comes with a case of the ',
    el('a', { href: `${folder}README.md`, target: '_blank' }, 'Medical Segmentation Decathlon'),
    ', CC BY-SA 4.0.',
  );
