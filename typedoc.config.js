/** The documentation site: README, the pages of docs/ and the API reference from docstrings. */
import { readdirSync, readFileSync } from 'node:fs';

/** Pages say in their front matter which title they have and where they stand: `title: …`, `order: 1`. */
const pages = readdirSync('docs')
  .filter((name) => name.endsWith('.md'))
  .map((name) => {
    const [, order] = /^order: (\d+)$/m.exec(readFileSync(`docs/${name}`, 'utf8')) ?? [];
    return { path: `docs/${name}`, order: Number(order ?? Infinity) };
  })
  .sort((a, b) => a.order - b.order || a.path.localeCompare(b.path))
  .map(({ path }) => path);

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'unet3d-gpu',
  entryPoints: ['src/node.ts', 'src/worker/index.ts', 'src/report/index.ts'],
  tsconfig: 'docs/tsconfig.json',
  // npm run lint does that.
  skipErrorChecking: true,
  projectDocuments: pages,
  out: 'site',
  excludePrivate: true,
  disableSources: true,
  disableGit: true,
  hideGenerator: true,
  navigationLinks: { 'Open the page': 'app/index.html' },
  validation: { invalidLink: true, invalidPath: true, notExported: false, notDocumented: false },
  treatWarningsAsErrors: true,
};
