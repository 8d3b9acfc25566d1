import { oneOf } from '../schema.ts';

/** How volumes are stored; arithmetic, statistics, losses and weights are float32 either way. */
export type Precision = 'f32' | 'f16';

export const precisionSchema = oneOf('f32', 'f16');
