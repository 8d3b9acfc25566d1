/** A user's program, for the compiler alone: every entry, with library declarations checked too. */
import {
  UNet3D,
  InvalidVolume,
  oneCycle,
  weightedDice,
  type EpochRow,
  type TrainingOptions,
} from 'unet3d-gpu';
import { evaluateCase } from 'unet3d-gpu/report';
import { UNet3D as InWorker } from 'unet3d-gpu/worker';

const options: TrainingOptions = {
  epochs: 2,
  loss: weightedDice(),
  schedule: oneCycle({ maxLearningRate: 0.01 }),
};

export async function rows(cases: Parameters<UNet3D['fit']>[0]): Promise<EpochRow[]> {
  using model = await UNet3D.create({ inChannels: 1, classes: 2, features: [8, 16] });
  const found: EpochRow[] = [];
  try {
    for await (const event of model.fit(cases, options)) if (event.type === 'epoch') found.push(event.row);
  } catch (error) {
    if (!(error instanceof InvalidVolume)) throw error;
  }
  return found;
}

export async function saved(model: UNet3D | InWorker, scan: File): Promise<Blob[]> {
  const segmentation = await model.predict(scan);
  return [new Blob([await segmentation.toNifti()]), new Blob([await model.save()])];
}

// @ts-expect-error: an option that is not there
export const wrong: TrainingOptions = { epoch: 2 };
export const calls = [InWorker.create, evaluateCase];
