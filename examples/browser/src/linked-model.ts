/** A model by link: `?model=ADDRESS`, a file on the same site that could be dropped as well, is opened to segment with. */
import { el, messageOf, notice } from './dom.ts';
import { modelAmong } from './given-model.ts';
import { KeptModel } from './kept-model.ts';
import { openToSegment } from './opening.ts';

/** @param opened shows where to segment */
export async function openLinkedModel(opened: () => void): Promise<void> {
  const link = new URLSearchParams(location.search).get('model');
  if (link === null) return;
  try {
    const address = new URL(link, document.baseURI);
    if (address.origin !== location.origin)
      throw new Error(
        `it lies on ${address.host}, and this page opens models of its own site only: download it, and open the file under "Use"`,
      );
    const name = decodeURIComponent(address.pathname.split('/').at(-1) ?? link);
    const isOpen = await openToSegment(name, async (signal) => {
      const response = await fetch(address, { signal });
      if (!response.ok) throw new Error(`the site has no such file (${response.status})`);
      const source = new File([await response.blob()], name);
      // What its name does not tell is taken for a file of this page.
      const model = modelAmong([{ path: name, source }]);
      return model ? model.load(signal) : KeptModel.open(() => Promise.resolve(source));
    });
    if (isOpen) opened();
  } catch (error) {
    notice('error', el('p', {}, `The model ${link} could not be opened: ${messageOf(error)}.`));
  }
}
