/** What stands in the viewer where something cannot be drawn, without a browser: NiiVue is stood in for. */
import { parseHTML } from 'linkedom';
import { beforeEach, expect, test, vi } from 'vitest';

/** The pictures that were made. */
const panes: { readonly volumes: { readonly name: string }[] }[] = [];

vi.mock('../../examples/browser/src/data-client.ts', () => ({
  dataJob: () => Promise.resolve({ file: undefined, note: '' }),
}));
vi.mock('../../examples/browser/src/niivue.ts', () => {
  class Niivue {
    volumes: { name: string }[] = [];
    opts = {};
    constructor() {
      panes.push(this);
    }
    attachToCanvas = () => Promise.resolve();
    addVolume = (volume: { name: string }) => void this.volumes.push(volume);
    setSliceType = () => undefined;
    broadcastTo = () => undefined;
    updateGLVolume = () => undefined;
  }
  return {
    library: () => Promise.resolve({ Niivue, SHOW_RENDER: {}, SLICE_TYPE: {} }),
    loaded: ({ name }: File) =>
      name === 'damaged'
        ? Promise.reject(new Error('it is damaged'))
        : Promise.resolve({ name, setColormapLabel: () => undefined }),
    keepVolumes: ({ volumes }: Niivue, count: number) => volumes.splice(count),
    free: () => undefined,
    colormap: () => undefined,
    drawsOnProcessor: () => false,
    mostVoxels: () => 1,
    pictureOptions: {},
    thinCrosshair: 1,
  };
});

beforeEach(() => {
  const { document, Node } = parseHTML('<!doctype html><html><body></body></html>');
  vi.stubGlobal('document', document);
  vi.stubGlobal('Node', Node);
  vi.stubGlobal('Text', function (text: string) {
    return document.createTextNode(text);
  });
});

test('where a label cannot be drawn, nothing of the case before is left beside it', async () => {
  const { Viewer } = await import('../../examples/browser/src/viewer.ts');
  const file = (name: string): File => new File([name], name);
  const viewer = new Viewer();
  const show = (image: File, truth: string) =>
    viewer.show(
      image,
      [
        { title: `Truth of ${image.name}`, overlay: file(truth) },
        { title: `Prediction of ${image.name}`, overlay: file('predicted') },
      ],
      ['background', 'tumour'],
    );
  const shown = () => panes.map(({ volumes }) => volumes.map(({ name }) => name));
  const titles = () => [...viewer.element.querySelectorAll('h3')].map(({ textContent }) => textContent);
  const a = file('a');
  await show(a, 'truth');
  expect(shown()).toEqual([
    ['a', 'truth'],
    ['a', 'predicted'],
  ]);
  await expect(show(a, 'damaged')).rejects.toThrow('it is damaged');
  expect(shown()).toEqual([['a'], ['a']]);
  await expect(show(file('b'), 'damaged')).rejects.toThrow('it is damaged');
  expect(shown()).toEqual([['b'], []]);
  expect(titles()).toEqual(['Truth of b', 'Prediction of b']);
});
