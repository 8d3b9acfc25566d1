/** Data sets as folders: names in many scripts, channels, links, loops, subject tables, descriptions among them. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openDatasetFolder, openFolderPair } from '../../src/data/dataset.node.ts';
import { openDataset } from '../../src/data/dataset.ts';
import type { FileEntry } from '../../src/data/case.ts';
import type { Random } from '../../src/data/random.ts';
import { inFolder, type Kind } from './harness.ts';
import { chance, pick } from './mutations.ts';

const names = [
  'case',
  'α',
  '病例',
  'José',
  'Jose\u0301',
  'scan',
  '😀',
  '',
  '١',
  'a b',
  '%2e',
  'con',
  '__proto__',
  'x'.repeat(200),
];
const suffixes = ['', '', '_0000', '_0001', '_seg', '_img', '_标签', '_0000_0000', '.'];
const folders = [
  'images',
  'labels',
  'imagesTr',
  'labelsTr',
  'imagesTs',
  'a',
  'a/b/c/d/e',
  'masks',
  'images/labels',
  '.git',
];
const endings = ['.nii.gz', '.nii', '.NII.GZ', '.hdr', '.img', '.txt', '', '.img.nii.gz'];
const description = {
  name: 'd',
  labels: { background: 0, bone: 1 },
  channel_names: { 0: 'T1' },
  file_ending: '.nii.gz',
};
const path = (source: Random): string =>
  `${pick(source, folders)}/${pick(source, names)}_${source.int(3)}${pick(source, suffixes)}${pick(source, endings)}`;

/** Paths, most of them of images with their labels. */
function paths(source: Random): string[] {
  const [suffix, ending] = [pick(source, suffixes), pick(source, endings)];
  const [images, labels] = pick(source, [
    ['images', 'labels'],
    ['imagesTr', 'labelsTr'],
    ['a', 'masks'],
  ] as const);
  const cases = Array.from({ length: 1 + source.int(4) }, (_, at) => `${pick(source, names)}_${at}`);
  const pairs = cases.flatMap((name) => [
    `${images}/${name}${pick(source, suffixes)}${ending}`,
    `${labels}/${name}${suffix}${ending}`,
  ]);
  const more = chance(source, 2) ? Array.from({ length: source.int(4) }, () => path(source)) : [];
  return [...pairs, ...more];
}

/** Small files that say something of the others. */
function texts(source: Random, all: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  if (chance(source, 3)) {
    const listing = {
      training: [{ image: pick(source, all), label: pick(source, all) }],
      dataset: {
        [pick(source, names)]: {
          images: [pick(source, all), '/etc/hosts'],
          label: `../${pick(source, all)}`,
        },
      },
    };
    const { training, dataset } = listing;
    const json = { ...description, ...pick(source, [{}, { training }, { dataset }, listing]) };
    found['dataset.json'] = JSON.stringify(json);
  }
  if (chance(source, 4))
    found['subjects.csv'] = pick(source, [
      'case,subject\ncase_0,s\n',
      'a;b\n',
      '\ufeffsubject\tcase',
      '"',
      '',
    ]);
  return found;
}

/** In memory, as a browser has them, and, one time in twenty, on the disk with links among them. */
export const dataFolders: Kind = {
  name: 'folders',
  async read(source) {
    const all = paths(source);
    const small = texts(source, all);
    if (!chance(source, 20)) {
      const entries: FileEntry[] = [...all.map((name) => ({ path: name, source: new Blob([]) }))];
      for (const [name, text] of Object.entries(small))
        entries.push({ path: name, source: new Blob([text]) });
      const { cases } = await openDataset(entries);
      return 1000 * cases.length;
    }
    return inFolder(async (outer) => {
      const root = join(outer, 'data'); // so that links upwards find nothing else
      await mkdir(root);
      for (const [name, text] of [...all.map((file) => [file, ''] as const), ...Object.entries(small)]) {
        await mkdir(join(root, dirname(name)), { recursive: true }).catch(() => undefined);
        await writeFile(join(root, name), text).catch(() => undefined); // a folder of that name
      }
      for (let links = source.int(4); links > 0; links--)
        await symlink(
          pick(source, ['.', '..', '/nowhere', 'images', 'labels', 'self']),
          join(root, pick(source, ['self', 'images/l.nii', 'l', 'labels/up', 'README'])),
        ).catch(() => undefined); // there is one
      const opened = chance(source, 3)
        ? await openFolderPair(join(root, 'images'), join(root, 'labels'))
        : await openDatasetFolder(root);
      return 1000 * opened.cases.length;
    });
  },
};
