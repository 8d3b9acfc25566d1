/** Which drawings are the labels of their cases by now. */
import type { Images } from '../state.ts';
import type { DrawingRecord } from './kept-drawings.ts';

export interface Taken {
  /** None for cases that were never drawn on. */
  readonly drawing: DrawingRecord | undefined;
  /** The value of unknown voxels in it. */
  readonly unknown: number;
}

/** The drawing that is the label of a case by now. Who gives a case the label of another time forgets it here. */
export const taken = new WeakMap<Images, Taken>();
