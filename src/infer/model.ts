/** A network and what belongs to it: what the calls of a model work on, one after the other. */
import type { PlanLimits } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import type { ModelState } from '../model/state.ts';
import type { ModelDescription } from '../weights/model-file.ts';

/** What is saved with a network besides its configuration and its weights. */
export type Description = Omit<ModelDescription, 'format' | 'packageVersion' | 'config'>;

export interface Model {
  /** On the device in use; another one once a lost device was opened again. */
  state: ModelState;
  /** As the call that has its turn finds it. */
  description: Description;
  /** Heads that began anew when the weights of another model were taken over, until a training has changed them. */
  anew?: readonly string[] | undefined;
  /** How volumes are stored, but in a training that asks for another. */
  readonly precision: Precision;
  /** Bytes that a plan may take on the GPU. */
  readonly budget: number;
  /** Lower than the device's; given again where it is opened again. */
  readonly limits: Partial<PlanLimits> | undefined;
}
