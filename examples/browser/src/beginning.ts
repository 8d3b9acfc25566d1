/** What a training begins with besides new weights: the network that is open. */
import { InvalidModel, type Preprocessing, type Size3, type UNet3DConfig } from 'unet3d-gpu/worker';
import { device } from './device.ts';
import { counted } from './dom.ts';
import type { Beginning } from './kept/database.ts';
import { takeParts } from './labelled-cases.ts';
import { partsBefore } from './parts-before.ts';
import { chooseDefaults } from './planning.ts';
import { beginWithModel, changed, state } from './state.ts';

/** What a training that begins with a network needs to know of it. */
export interface Start {
  readonly config: UNet3DConfig;
  /** How its cases were prepared, where its files tell. */
  readonly preprocessing?: Preprocessing | undefined;
  /** x, y, z of the patches that it was trained on, where on nothing else. */
  readonly patch?: Size3 | undefined;
}

/** What becomes of the heads, and whether the encoder is kept as it is. */
export type Chosen = Pick<Beginning, 'heads' | 'freeze'>;

/** A network that a training is given to begin with. */
export interface Given {
  /** Of model.safetensors. */
  readonly bytes: Uint8Array;
  readonly from: Beginning;
  readonly preprocessing: Preprocessing | undefined;
}

/** Images of each case at hand. */
const imagesOfCase = (): number =>
  state.report?.fingerprint?.intensities.length ?? state.cases[0]?.images.length ?? 1;

/** The network that is open, or why no training can begin with it; undefined where none is open. */
export function openStart(): Start | string | undefined {
  const start = state.model?.start;
  if (start === undefined || typeof start === 'string') return start;
  const { inChannels } = start.config;
  const here = imagesOfCase();
  return inChannels === here
    ? start
    : `it reads ${counted(inChannels, 'image')} of a case, and these cases have ${here}: open a network for as many`;
}

/** Sets what the next training begins with, and the settings that follow from it; undefined for new weights. */
export async function beginWith(chosen: Chosen | undefined): Promise<void> {
  const start = chosen && openStart();
  if (typeof start === 'string') throw new InvalidModel(`no training can begin with this network: ${start}`);
  beginWithModel(chosen && start && { ...chosen, start });
  chooseDefaults(await device(), state.channels);
  changed();
}

/**
 * The network that the next training begins with; undefined for new weights. The cases that it has been trained on are
 * trained on, and those that were held back from it are held back.
 */
export async function givenNetwork(): Promise<Given | undefined> {
  const { beginning, model, modelName: name } = state;
  if (!beginning || !model) return undefined;
  takeParts(await partsBefore());
  const { start, ...chosen } = beginning;
  return {
    bytes: await model.save(),
    from: { name, config: start.config, ...chosen },
    preprocessing: start.preprocessing,
  };
}
