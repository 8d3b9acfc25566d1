/**
 * The examples of docstrings and of the pages run as they stand: in one process and one folder, on tiny phantoms. What
 * they take from their surroundings (`model`, `cases`, files by name) is made once, and what they export is in scope.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as node from '../../src/node.ts';
import * as report from '../../src/report/index.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { removeTemporaryFolders, temporaryFolder } from '../support/temporary.node.ts';

interface Example {
  readonly name: string;
  readonly path?: string;
  readonly code: string;
}

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.startsWith('generated') && !path.startsWith('worker'))
  .map((path) => ({ path, text: readFileSync(join('src', path), 'utf8') }));

/** Examples of docstrings, each by the name of what its docstring is of. */
const docstrings: Example[] = sources.flatMap(({ path, text }) =>
  [
    ...text.matchAll(
      /\/\*\*(?<doc>(?:(?!\*\/)[^])*)\*\/\nexport (?:async )?(?:function|class|const) (?<name>\w+)/g,
    ),
  ].flatMap(({ groups }) => {
    const [, code] = /@example\n \* ```js\n(.*?)\n \* ```/s.exec(groups!['doc']!) ?? [];
    return code === undefined ? [] : [{ name: groups!['name']!, path, code: code.replace(/^ \* ?/gm, '') }];
  }),
);

/** Programs of the pages; those of workers run in a browser alone. */
const programs: Example[] = readdirSync('docs')
  .filter((name) => name.endsWith('.md'))
  .flatMap((name) =>
    [...readFileSync(join('docs', name), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(([, code], i) => ({
      name: `docs/${name} ${i + 1}`,
      code: code!,
    })),
  )
  .filter(({ code }) => !code.includes("from 'unet3d-gpu/worker'"));

const modules: Record<string, object> = { 'unet3d-gpu': node, 'unet3d-gpu/report': report };
const load = createRequire(import.meta.url);

/** Runs a program with `given` in scope; its imports become names as well. */
async function run(code: string, given: Record<string, unknown>): Promise<void> {
  const body = code.replace(
    /^import \{([^}]*)\} from '([^']+)';$/gm,
    (_, names: string, from: string) => `const {${names}} = load('${from}');`,
  );
  const scope = { ...given, load: (name: string): unknown => modules[name] ?? load(name) };
  const names = Object.keys(scope).filter(
    (name) => !new RegExp(`const \\{[^}]*\\b${name}\\b[^}]*\\} = load`).test(body),
  );
  // A program may declare a name that is given: its own scope is inside.
  const wrapped = `return (async () => {${body.replaceAll('await using', 'const')}\n})();`;
  // oxlint-disable-next-line typescript/no-implied-eval
  const program = new Function(...names, wrapped) as (...values: unknown[]) => Promise<void>;
  await program(...names.map((name) => scope[name as keyof typeof scope]));
}

const start = process.cwd();
let given: Record<string, unknown>;
let model: node.UNet3D;

beforeAll(async () => {
  const weights = readFileSync('test/fixtures/pytorch-files/ours.pth');
  process.chdir(await temporaryFolder());
  const shape = [8, 8, 8] as const;
  const scans = node.phantoms(4, { shape });
  const cases = scans.map(({ image, labels, affine: at }, subject) => {
    const grid = { dims: shape, affine: at };
    return node.fromArrays(`p${subject}`, { data: image, ...grid }, { data: labels, ...grid });
  });
  for (const part of ['data/imagesTr', 'data/labelsTr', 'folds/fold_0', 'folds/fold_1'])
    mkdirSync(part, { recursive: true });
  for (const [subject, { image, labels, affine: at }] of scans.entries()) {
    const file = await node.writeNifti({ data: image, shape, affine: at });
    const truth = await node.writeNifti({ data: labels, shape, affine: at });
    for (const path of [`data/imagesTr/p${subject}.nii.gz`, 'scan.nii.gz', 'other.nii.gz'])
      writeFileSync(path, file);
    for (const path of [`data/labelsTr/p${subject}.nii.gz`, 'truth.nii.gz']) writeFileSync(path, truth);
  }
  const labels = Object.fromEntries(node.phantomLabels.map((name, value) => [value, name]));
  const training = scans.map((_, i) => ({
    image: `./imagesTr/p${i}.nii.gz`,
    label: `./labelsTr/p${i}.nii.gz`,
  }));
  writeFileSync(
    'data/dataset.json',
    JSON.stringify({ name: 'phantoms', modality: { 0: 'MR' }, labels, training, test: [] }),
  );
  writeFileSync('weights.pth', weights);
  const config = { inChannels: 1, classes: 6, features: [4, 8], norm: 'instance', seed: 7 } as const;
  model = await node.UNet3D.create({ ...config, labels: [...node.phantomLabels] });
  const modelBytes = await model.save();
  for (const path of ['model', 'folds/fold_0/model', 'folds/fold_1/model'])
    writeFileSync(`${path}.safetensors`, modelBytes);
  const forNnunet = { activation: 'leakyRelu', slope: 0.01, down: 'conv' } as const;
  const preprocessing = node.defaultPreprocessing(1, cases[0]!.spacing);
  const other = await node.UNet3D.create({
    ...config,
    ...forNnunet,
    preprocessing,
    labels: [...node.phantomLabels],
  });
  const { description, weights: drawn } = await readModel(await other.save());
  const nnunetModelBytes = await writeModel({ ...description, inputSize: shape }, drawn);
  other.dispose();
  const { files: nnunetFiles } = await node.exportNnunet(nnunetModelBytes);
  const ofMonai = {
    inChannels: 1,
    classes: 6,
    features: [4, 8],
    norm: 'instance',
    architecture: 'residualUnits',
  } as const;
  using third = await node.UNet3D.create({ ...ofMonai, activation: 'prelu', scaleAndShift: false });
  const monaiModelBytes = await third.save();
  const { files: monaiFiles } = await node.exportMonai(monaiModelBytes);
  const dataset = await node.openDatasetFolder('data');
  given = {
    ...report,
    ...node,
    ...{
      model,
      cases,
      dataset,
      affine: scans[0]!.affine,
      modelBytes,
      nnunetModelBytes,
      nnunetFiles,
      monaiModelBytes,
      monaiFiles,
    },
    console: { ...console, log: () => {}, warn: () => {} },
  };
});

afterAll(async () => {
  model.dispose();
  process.chdir(start);
  await removeTemporaryFolders();
  await node.releaseNodeGpu();
});

/** What runs elsewhere: test/self-test, and where MONAI's files are at hand test/interop. */
const elsewhere = ['selfTest', 'openMonai', 'convertMonai', 'MonaiPredictor', 'docs/monai.md 1'];
/** Ends what the others run on. */
const last = 'releaseNodeGpu';

test.each([...docstrings, ...programs].filter(({ name }) => !elsewhere.includes(name) && name !== last))(
  'the example of $name',
  // Two entries have a `summarise`: of networks, and of metrics.
  ({ code, path }) => run(code, path?.startsWith('metrics') ? { ...given, ...report } : given),
);

test('public functions and classes have an example', () => {
  const named = new Set(docstrings.map(({ name }) => name));
  const errors = Object.values(node).filter(
    (value) => (value as { prototype?: unknown }).prototype instanceof Error,
  );
  const without = Object.entries(node)
    .filter(([, value]) => typeof value === 'function' && !(errors as unknown[]).includes(value))
    .map(([name]) => name)
    .filter((name) => !named.has(name));
  expect(without.sort()).toEqual(withoutExample);
});

/** Called by those who bring an adapter of their own or time kernels: their types say more than a line could. */
const withoutExample = ['segmentAsTotalSegmentator', 'setAdapterProvider', 'tune'];
