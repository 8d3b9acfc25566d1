/** A network on a GPU as windows go through it. */
import type { Inference } from '../../../infer/inference.ts';
import type { UNet3DConfig } from '../../../model/config.ts';
import type { ResultKind } from '../../../model/plan.ts';
import { headName } from '../../../model/supervision.ts';
import type { ModelState } from '../../../model/state.ts';
import type { Size3 } from '../../../size.ts';
import { linearHead } from './head.ts';
import type { WindowNetwork } from './logits.ts';

/** What windows give, and how many channels that has. */
export interface WindowResult {
  readonly kind: ResultKind;
  readonly channels: number;
}

/**
 * Logits; where there are fewer features than classes, these: less to read, and to keep until windows no longer reach it.
 * @param folds networks whose logits are averaged, each of which has features of its own
 */
export function windowResult(
  { features, classes }: Pick<UNet3DConfig, 'features' | 'classes'>,
  folds: number,
): WindowResult {
  const channels = features[0]!;
  return folds * channels < classes ? { kind: 'features', channels } : { kind: 'logits', channels: classes };
}

/**
 * @param size of the windows
 * @param prepare called in front of each window: the weights are its own then
 */
export function networkOn(
  { state, inference }: { readonly state: ModelState; readonly inference: Inference },
  size: Size3,
  { kind, channels }: WindowResult,
  prepare: () => Promise<void> = () => Promise.resolve(),
): WindowNetwork {
  let head: ReturnType<typeof linearHead> | undefined;
  return {
    channels,
    async run(window, take, signal) {
      const run = await inference.planesAt(size, kind);
      await prepare();
      if (kind === 'features') head ??= await headOf(state);
      return run(window, take, signal);
    },
    head: kind === 'features' ? (features) => head!(features) : undefined,
  };
}

async function headOf(state: ModelState): Promise<ReturnType<typeof linearHead>> {
  const [weight, bias] = [`${headName(0)}.weight`, `${headName(0)}.bias`];
  return linearHead(await state.readParameter(weight), await state.readParameter(bias));
}
