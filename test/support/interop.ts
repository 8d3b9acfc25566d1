/** Small networks of other tools with what those compute from them, which lie beside the checkout; for both runtimes. */
import type { FileEntry } from '../../src/data/case.ts';
import { openMonai, type MonaiModel } from '../../src/interop/monai/open.ts';
import { bytesOf } from './files.ts';

export const interopFolder = '../shared/data/interop';

/** An array in a file of little-endian float32 in C order. */
export interface StoredArray {
  readonly file: string;
  readonly shape: readonly number[];
}

/** fixture.json of a folder; see the README beside it. */
export interface InteropFixture {
  readonly forward: {
    readonly input: StoredArray;
    /** Finest first; the others are of deep supervision. */
    readonly outputs: readonly (StoredArray & { readonly maxAbs: number })[];
    /** Sum over outputs i of sum(logits_i · weights_i) / numel(logits_i). */
    readonly loss?: {
      readonly weights: readonly string[];
      readonly value: number;
      readonly gradients: string;
      readonly inputGradient: string;
    };
  };
}

export interface NnunetFixture extends InteropFixture {
  /** Of the model folder. */
  readonly model: string;
  readonly configuration: string;
  readonly trainer: string;
  readonly folds: readonly (number | string)[];
  readonly resolved: {
    readonly architecture: { readonly arch_kwargs: Record<string, unknown> };
    readonly heads: number;
    readonly inputChannels: number;
    readonly regions: readonly unknown[] | null;
    readonly ignoreLabel: number | null;
  };
  /** All names in the order of the file, with their shapes. */
  readonly stateDict: Record<string, readonly number[]>;
  /** Those that are no aliases. */
  readonly canonicalNames: readonly string[];
  readonly mirroringAxes: readonly number[] | null;
  /** From files to labels; lists run along the axes of nnU-Net's arrays, slowest first. */
  readonly endToEnd: {
    readonly images: readonly string[];
    readonly preprocessed: { readonly shape: readonly number[] };
    /** Along z, y, x of the file. */
    readonly spacing: readonly number[];
    readonly shapeBeforeCropping: readonly number[];
    readonly box: readonly (readonly [start: number, end: number])[];
    readonly stepSize: number;
    readonly windows: readonly (readonly number[])[];
    readonly logits: { readonly maxAbs: number };
  };
}

export const nnunetFolders = ['plain-iso', 'plain-aniso', 'plain-regions', 'resenc', 'totalsegmentator'];

/** A folder of fixtures; undefined where it is not there. */
export async function interopFixture<Fixture extends InteropFixture>(name: string) {
  const folder = `${interopFolder}/${name}`;
  const json = await bytesOf(`${folder}/fixture.json`);
  if (!json) return undefined;
  const bytesAt = async (path: string): Promise<Uint8Array<ArrayBuffer>> => {
    const bytes = await bytesOf(`${folder}/${path}`);
    if (!bytes) throw new Error(`${folder}/${path} is missing`);
    return bytes;
  };
  return {
    folder,
    fixture: JSON.parse(new TextDecoder().decode(json)) as Fixture,
    bytesAt,
    /** Of a .f32 file. */
    floatsAt: async (path: string): Promise<Float32Array<ArrayBuffer>> =>
      new Float32Array((await bytesAt(path)).buffer),
  };
}

/** A model folder of nnU-Net: its fixture, and its files as a user gives them; undefined where it is not there. */
export async function nnunetFixture(name: string) {
  const found = await interopFixture<NnunetFixture>(`nnunet-${name}`);
  if (!found) return undefined;
  const { model, folds } = found.fixture;
  const paths = [
    'plans.json',
    'dataset.json',
    ...folds.map((fold) => `fold_${fold}/checkpoint_final.pth`),
  ].map((path) => `${model}/${path}`);
  const files: FileEntry[] = [];
  for (const path of paths) files.push({ path, source: await found.bytesAt(path) });
  return { ...found, files };
}

export const monaiFolders = ['unet-res2', 'dynunet', 'dynunet-res', 'basicunet', 'segresnet'];

/** The state dict and the definition of a network of MONAI, as a user gives them; undefined where they are not there. */
export async function monaiFiles(name: string) {
  const found = await interopFixture<InteropFixture & { network: unknown; files: string[] }>(`monai-${name}`);
  if (!found) return undefined;
  const { network, files } = found.fixture;
  return [
    { path: 'network.json', source: new TextEncoder().encode(JSON.stringify(network)) },
    { path: files[0]!, source: await found.bytesAt(files[0]!) },
  ];
}

/** A network of MONAI; undefined where it is not there. */
export async function monaiModel(name: string): Promise<MonaiModel | undefined> {
  const files = await monaiFiles(name);
  return files && openMonai(files);
}

/**
 * A bundle of MONAI with other transforms behind its network, such as ones that let its channels overlap, and its image;
 * undefined where they are not there.
 */
export async function monaiBundle(transforms: readonly object[]) {
  interface BundleFixture extends InteropFixture {
    readonly endToEnd: {
      readonly image: string;
      readonly logits: StoredArray;
      readonly bundle: readonly string[];
    };
  }
  const found = await interopFixture<BundleFixture>('monai-unet-res2');
  if (!found) return undefined;
  const { fixture, bytesAt } = found;
  const files: FileEntry[] = [];
  for (const path of fixture.endToEnd.bundle) {
    let source = await bytesAt(path);
    if (path.endsWith('inference.json')) {
      const config = JSON.parse(new TextDecoder().decode(source)) as object;
      const postprocessing = { _target_: 'Compose', transforms };
      source = new TextEncoder().encode(JSON.stringify({ ...config, postprocessing }));
    }
    files.push({ path, source });
  }
  return { ...found, files, image: await bytesAt(fixture.endToEnd.image) };
}
