/** 3×3×3 convolutions and their gradients by themselves, as plans to be timed. */
import { Recorder, type PlanLimits, type Tensor } from '../src/gpu/plan.ts';
import type { Precision } from '../src/gpu/precision.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../src/ops/conv.ts';
import type { Size3 } from '../src/size.ts';

export const kinds = ['forward', 'data gradient', 'weight gradient'] as const;
export type ConvKind = (typeof kinds)[number];

export interface ConvCase {
  /** Channels of each input. */
  readonly from: readonly number[];
  readonly to: number;
  readonly size: Size3;
  readonly batch?: number;
}

/** One run over each of several sets of tensors, which together take at least `beyondCache` bytes. */
export function recordConv(
  kind: ConvKind,
  { from, to, size, batch = 2 }: ConvCase,
  limits: PlanLimits,
  beyondCache: number,
  precision: Precision = 'f32',
) {
  const recorder = new Recorder(limits, precision);
  const words = from.reduce((a, b) => a + b) * to * 27;
  const [w, dw] = [recorder.flat('w', words, 'resident'), recorder.flat('dw', words, 'resident')];
  const weights = { tensor: w, offset: 0, size: words * 4 };
  const inputs: Tensor[] = [w];
  let sets = 0;
  for (let bytes = 0; bytes < beyondCache && sets < 64; sets++) {
    const sources = from.map((count) => recorder.volume('x', batch, count, size, 'resident'));
    const x = sources[0]!;
    const second = sources[1] && { tensor: sources[1] };
    const y = recorder.volume('y', batch, to, size, 'resident');
    inputs.push(...sources, y);
    bytes += y.bytes + sources.reduce((sum, source) => sum + source.bytes, 0);
    if (kind === 'forward') {
      const both = second ? ([{ tensor: x }, second] as const) : ([{ tensor: x }] as const);
      convForward(recorder, kind, { inputs: both, weights, target: y });
    }
    if (kind === 'data gradient') convBackwardInput(recorder, kind, { dOutput: y, weights, dInput: x });
    if (kind === 'weight gradient')
      convBackwardWeight(recorder, kind, {
        input: { tensor: x },
        dOutput: y,
        dWeights: { tensor: dw, offset: 0, size: words * 4 },
      });
  }
  return { plan: recorder.finish(), inputs, sets };
}
