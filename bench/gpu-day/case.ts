/** The network and the batch of a step, from a seed, so that every part that asks for it gets the same. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { completeConfig } from '../../src/model/complete-config.ts';
import { weightedDice } from '../../src/model/losses.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import type { Size3 } from '../../src/size.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { writeSafetensors } from '../../src/weights/safetensors.ts';
import { nestedBoxes } from '../nested-boxes.ts';
import { numbers } from './tell.ts';

export const classes = 6;
/** As bench/peers/torch_peer.py has it. */
export const loss = weightedDice([1, 2, 3, 4, 5, 6].map((weight) => weight / 21));
/** Of the initial weights. */
export const seed = 1;

export interface StepCase {
  readonly size: Size3;
  readonly batch: number;
  readonly features: readonly number[];
}

/** The options of scripts that take a case. */
export const caseOptions = {
  folder: { type: 'string', default: 'case' },
  size: { type: 'string', default: '256,256,128' },
  batch: { type: 'string', default: '2' },
  features: { type: 'string', default: '16,32,64,128' },
} as const;

export const caseOf = (given: { size: string; batch: string; features: string }): StepCase => ({
  size: numbers(given.size) as unknown as Size3,
  batch: Number(given.batch),
  features: numbers(given.features),
});

export const configOf = ({ features }: StepCase) =>
  completeConfig({ inChannels: 1, classes, features: [...features] });

/** Writes the case for bench/peers/torch_peer.py, unless another part has. */
export function writeCase(folder: string, given: StepCase): void {
  const about = join(folder, 'case.json'); // written last
  const text = JSON.stringify({ ...given, classes });
  if (existsSync(about) && readFileSync(about, 'utf8') === text) return;
  mkdirSync(folder, { recursive: true });
  const { size, batch } = given;
  const { parameters, parameterWords } = layoutParameters(configOf(given));
  const tensors = namedTensors(parameters, initialValues(parameters, parameterWords, seed));
  const { image, label } = nestedBoxes(size, batch, classes);
  writeFileSync(join(folder, 'weights.safetensors'), writeSafetensors({ tensors, metadata: {} }));
  writeFileSync(join(folder, 'image.f32'), image);
  writeFileSync(join(folder, 'label.u8'), label);
  writeFileSync(about, text);
}
