/** Models by link: what is opened of an address, without a network or a GPU. */
import { downloadZip } from 'client-zip';
import { parseHTML } from 'linkedom';
import { beforeEach, expect, test, vi } from 'vitest';
import { stubBrowser } from '../support/page-store.ts';

/** What was opened: by which class, of which file. */
const opened: unknown[][] = [];
const model = (kind: string) => ({ kind, dispose: () => undefined });
vi.mock('../../examples/browser/src/data-client.ts', () => import('../support/page-worker.ts'));
vi.mock('../../examples/browser/src/kept-model.ts', () => ({
  KeptModel: {
    async open(weights: () => Promise<File>) {
      const file = await weights();
      opened.push(['own', file.name, await file.text()]);
      return model('own');
    },
  },
}));
vi.mock('../../examples/browser/src/foreign-model.ts', () => ({
  ForeignModel: {
    open(files: File | readonly { path: string }[]) {
      opened.push(['foreign', files instanceof File ? files.name : files.map(({ path }) => path)]);
      return Promise.resolve(model('foreign'));
    },
  },
}));

beforeEach(() => {
  stubBrowser();
  opened.length = 0;
  const { document, Node } = parseHTML('<!doctype html><html><body><div id="notices"></div></body></html>');
  Object.defineProperty(document, 'baseURI', { value: 'https://site.test/page/' });
  vi.stubGlobal('document', document);
  vi.stubGlobal('Node', Node);
  vi.stubGlobal('Text', function (text: string) {
    return document.createTextNode(text);
  });
});

/** Of no kind that has to be asked about. */
const archive = downloadZip([{ name: 'a.txt', input: 'text' }]).arrayBuffer();

async function follow(link: string) {
  vi.stubGlobal('location', { search: `?model=${encodeURIComponent(link)}`, origin: 'https://site.test' });
  const asked: string[] = [];
  vi.stubGlobal('fetch', async (address: URL) => {
    asked.push(address.href);
    return new Response(address.pathname.endsWith('.zip') ? await archive : 'weights');
  });
  const { openLinkedModel } = await import('../../examples/browser/src/linked-model.ts');
  const toUse = vi.fn();
  await openLinkedModel(toUse);
  return {
    asked,
    isShown: toUse.mock.calls.length > 0,
    said: document.querySelector('#notices')!.textContent,
  };
}

test.each([
  ['models/a%20b.safetensors', ['own', 'a b.safetensors', 'weights']],
  ['/models/latest', ['own', 'latest', 'weights']],
  ['net.zip', ['foreign', 'net.zip']],
  ['checkpoint_final.pth', ['foreign', ['checkpoint_final.pth']]],
])('%s is opened as a drop of it would be', async (link, expected) => {
  const { asked, isShown, said } = await follow(link);
  expect(asked).toEqual([new URL(link, 'https://site.test/page/').href]);
  expect(opened).toEqual([expected]);
  expect([isShown, said]).toEqual([true, '']);
});

test('an address on another site is not asked', async () => {
  const { asked, isShown, said } = await follow('https://other.test/a.zip');
  expect([asked, opened, isShown]).toEqual([[], [], false]);
  expect(said).toMatch(/it lies on other\.test/);
});
