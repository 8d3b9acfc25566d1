/** Statistics of a convolution's output that its kernel leaves tile by tile, for a norm that then need not read it all. */
import type { Recorder, SlabUse, Tensor, View, VolumeTensor } from '../../gpu/plan.ts';

/** Whether an op whose target is `measured` is to leave them: a plan may want them from the whole output instead. */
export const isMeasured = (
  { limits: { kernels } }: Recorder,
  { measured = false }: { readonly measured?: boolean },
): boolean => measured && kernels.statistics === 'joined';

/** Of each tile: the number of its voxels, their mean and the sum of squared deviations from it. */
const words = 3;

/** Tiles of a plane whose statistics these are. */
export const tilesOf = (parts: VolumeTensor, channels: number): number => parts.rowQuads / (words * channels);

/** Where a kernel leaves them. */
export interface PartsTarget {
  /** None where it is not to. */
  readonly parts: VolumeTensor | undefined;
  /** For `Recorder.slabs`. */
  readonly uses: readonly SlabUse[];
  /** Of a dispatch for planes [from, to). */
  at(
    from: number,
    to: number,
  ): {
    readonly view: View | Tensor;
    readonly params: { readonly tiles: number; readonly startParts: number };
  };
}

/** @param tiles that each plane of `target` is cut into; 0: no statistics are left */
export function partsOf(recorder: Recorder, label: string, target: VolumeTensor, tiles: number): PartsTarget {
  if (tiles === 0) {
    const none = { view: recorder.flat(`${label}.none`, 1), params: { tiles, startParts: 0 } };
    return { parts: undefined, uses: [], at: () => none };
  }
  const parts = recorder.planewise(`${label}.parts`, target, words * target.channels * tiles);
  return {
    parts,
    uses: [{ tensor: parts }],
    at(from, to) {
      const { view, start } = recorder.planes(parts, from, to);
      return { view, params: { tiles, startParts: start } };
    },
  };
}
