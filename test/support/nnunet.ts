/** Small models of nnU-Net beside the checkout, with what its own code computes at each step. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readLabels, type NnunetLabels } from '../../src/interop/nnunet/labels.ts';
import { readPlans, type NnunetPlans } from '../../src/interop/nnunet/plans.ts';

const shared = '../shared/data/interop';

/** Why tests of it do not run; undefined where they do. */
export const missing = existsSync(shared) ? undefined : `${shared} is not there`;

export const fixtureNames = ['plain-iso', 'plain-aniso', 'plain-regions', 'resenc', 'totalsegmentator'];

interface Told {
  model: string;
  configuration: string;
  mirroringAxes: number[] | null;
  folds: (number | string)[];
  endToEnd: {
    images: string[];
    preprocessed: { shape: number[] };
    spacing: number[];
    shapeBeforeCropping: number[];
    box: [number, number][];
    stepSize: number;
    windows: number[][];
    logits: { shape: number[]; maxAbs: number };
    nearTies: Record<string, number>;
  };
}

export interface NnunetFixture {
  readonly told: Told;
  readonly folder: string;
  /** The model folder. */
  readonly model: string;
  readonly plans: NnunetPlans;
  readonly labels: NnunetLabels;
  readonly images: readonly string[];
  readonly floats: (name: string) => Float32Array;
}

export function nnunetFixture(name: string): NnunetFixture {
  const folder = `${shared}/nnunet-${name}`;
  const text = (path: string): string => readFileSync(path, 'utf8');
  const told = JSON.parse(text(`${folder}/fixture.json`)) as Told;
  const model = `${folder}/${told.model}`;
  return {
    told,
    folder,
    model,
    plans: readPlans(text(`${model}/plans.json`), told.configuration),
    labels: readLabels(text(`${model}/dataset.json`)),
    images: told.endToEnd.images.map((path) => `${folder}/${path}`),
    floats: (path) => new Float32Array(Uint8Array.from(readFileSync(`${folder}/case/${path}`)).buffer),
  };
}

/** All files below a folder. */
export const filesBelow = (folder: string): { path: string; source: string }[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path: path.slice(folder.length + 1), source: path }));
