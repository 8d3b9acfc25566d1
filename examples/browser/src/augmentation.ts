/** How training batches are augmented: as a person chooses it, and as the library takes it. */
import { augmentationMargin, nnunetAugmentation, type Augmentation, type Size3 } from 'unet3d-gpu/worker';

/** As nnU-Net does it, mirrored along every axis, or along y and z alone; undefined for none. */
export type AugmentationChoice = 'mirrored' | 'sides kept' | undefined;

/** Prepared volumes lie as RAS: x goes from left to right. */
export const augmentationOf = (choice: AugmentationChoice): Augmentation | undefined =>
  choice && nnunetAugmentation(choice === 'sides kept' ? { mirror: [0, 0.5, 0.5] } : {});

/**
 * What augmentation adds to the plan of a training step.
 * @param largest x, y, z of the largest prepared volume on every axis
 */
export function augmentedStep(
  choice: AugmentationChoice,
  largest: Size3,
): { augment: boolean; margin?: (size: Size3) => Size3 } {
  const augmentation = augmentationOf(choice);
  if (!augmentation) return { augment: false };
  return { augment: true, margin: (size) => augmentationMargin(augmentation, size, largest) };
}

/** What is done to batches, in words. */
export function describeAugmentation(choice: AugmentationChoice): string {
  if (!choice) return 'Batches are not augmented: the network sees each volume as it is, time and again.';
  const axes = choice === 'mirrored' ? 'along x, y and z' : 'along y and z, never from left to right';
  return `Batches are augmented as by nnU-Net: turned, scaled, mirrored ${axes}, with noise, blur and other contrasts.`;
}
