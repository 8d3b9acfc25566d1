/** A model by link: `?model=ADDRESS`, on the same site, is opened to segment with. */
import { button, el, messageOf, notice } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import { openModel } from './state.ts';

/** @param opened shows where to segment */
export async function openLinkedModel(opened: () => void): Promise<void> {
  const link = new URLSearchParams(location.search).get('model');
  if (link === null) return;
  const stop = new AbortController();
  const box = notice(
    '',
    el('p', {}, `Opening the model ${link}`),
    button('Cancel', () => stop.abort()),
  );
  try {
    const address = new URL(link, document.baseURI);
    if (address.origin !== location.origin)
      throw new Error(
        `it lies on ${address.host}, and this page opens models of its own site only: download it, and open the file under "Use"`,
      );
    const response = await fetch(address, { signal: stop.signal });
    if (!response.ok) throw new Error(`the site has no such file (${response.status})`);
    const file = await response.blob();
    const name = decodeURIComponent(address.pathname.split('/').at(-1) ?? link);
    const model = await KeptModel.open(async () => new Uint8Array(await file.arrayBuffer()));
    if (stop.signal.aborted) return model.dispose();
    openModel(model, name);
    opened();
  } catch (error) {
    if (!stop.signal.aborted)
      notice('error', el('p', {}, `The model ${link} could not be opened: ${messageOf(error)}.`));
  } finally {
    box.remove();
  }
}
