/**
 * PReLU with one trained slope for all channels, of a volume or of what a norm makes of it. Forward saves nothing: its
 * input is read again.
 */
import { InvalidOption } from '../errors.ts';
import type { Recorder, View, VolumeTensor } from '../gpu/plan.ts';
import {
  assertLength,
  assertSameGrid,
  groupsOf64,
  planeQuads,
  reducePartials,
  reductionGroups,
  reductionConstants,
  type Input,
} from './common.ts';

function assertApplicable(label: string, { scaleShifts, slope = 1 }: Input): void {
  if (scaleShifts && slope !== 1)
    throw new InvalidOption(
      `${label} is applied to a volume with an activation of slope ${slope}: leave one of the two out`,
    );
}

/** Assigns `target`: z where z > 0, else slope · z. */
export function preluForward(
  recorder: Recorder,
  label: string,
  tensors: { readonly input: Input; readonly slope: View; readonly target: VolumeTensor },
): void {
  const { input, slope, target } = tensors;
  const { tensor: source, scaleShifts } = input;
  assertApplicable(label, input);
  assertSameGrid(label, source, target);
  assertLength(label, slope, 1);
  const [width, height, depth] = source.size;
  for (const [from, to] of recorder.slabs(source.planes, [{ tensor: source }, { tensor: target }])) {
    const part = recorder.planes(source, from, to);
    const out = recorder.planes(target, from, to);
    recorder.dispatch('prelu/forward', {
      label,
      bindings: { source: part.view, scaleShifts: scaleShifts ?? part.view, slope, target_: out.view },
      params: {
        width,
        height,
        depth,
        rowQuads: source.rowQuads,
        channels: source.channels,
        plane0: from,
        startSource: part.start,
        startTarget: out.start,
      },
      constants: { NORM: scaleShifts !== undefined },
      workgroups: [groupsOf64(planeQuads(source)), source.channels, to - from],
      flops: 2 * source.channels * width * height * (to - from),
    });
  }
}

/** Assigns the gradient of z, or with `add` accumulates into it. */
export function preluBackwardInput(
  recorder: Recorder,
  label: string,
  tensors: {
    readonly input: Input;
    readonly slope: View;
    readonly dOutput: VolumeTensor;
    readonly dInput: VolumeTensor;
  },
  add = false,
): void {
  const { input, slope, dOutput, dInput } = tensors;
  const { tensor: source, scaleShifts } = input;
  assertSameGrid(label, source, dOutput, dInput);
  const [width, height, depth] = source.size;
  const uses = [source, dOutput, dInput].map((tensor) => ({ tensor }));
  for (const [from, to] of recorder.slabs(source.planes, uses)) {
    const part = recorder.planes(source, from, to);
    const upstream = recorder.planes(dOutput, from, to);
    const out = recorder.planes(dInput, from, to);
    recorder.dispatch('prelu/backward_input', {
      label,
      bindings: {
        source: part.view,
        scaleShifts: scaleShifts ?? part.view,
        slope,
        gradient: upstream.view,
        target_: out.view,
      },
      params: {
        width,
        height,
        depth,
        rowQuads: source.rowQuads,
        channels: source.channels,
        plane0: from,
        startSource: part.start,
        startGradient: upstream.start,
        startTarget: out.start,
      },
      constants: { NORM: scaleShifts !== undefined, ADD: add },
      workgroups: [groupsOf64(planeQuads(source)), source.channels, to - from],
      flops: 2 * source.channels * width * height * (to - from),
    });
  }
}

/** Assigns the gradient of the slope. Summed in fixed order: the same bits for any cutting into dispatches. */
export function preluBackwardSlope(
  recorder: Recorder,
  label: string,
  tensors: { readonly input: Input; readonly dOutput: VolumeTensor; readonly dSlope: View },
): void {
  const { input, dOutput, dSlope } = tensors;
  const { tensor: source, scaleShifts } = input;
  assertSameGrid(label, source, dOutput);
  const { channels, planes } = source;
  const [width, height, depth] = source.size;
  const partials = recorder.flat(`${label}.partials`, planes * channels);
  for (const [from, to] of recorder.slabs(planes, [{ tensor: source }, { tensor: dOutput }])) {
    const part = recorder.planes(source, from, to);
    const upstream = recorder.planes(dOutput, from, to);
    recorder.dispatch('prelu/backward_slope', {
      label,
      bindings: {
        source: part.view,
        scaleShifts: scaleShifts ?? part.view,
        gradient: upstream.view,
        partials,
      },
      params: {
        area: planeQuads(source),
        depth,
        channels,
        plane0: from,
        startSource: part.start,
        startGradient: upstream.start,
      },
      constants: { NORM: scaleShifts !== undefined, ...reductionConstants(recorder) },
      workgroups: [reductionGroups(recorder, channels), 1, to - from],
      flops: 3 * channels * width * height * (to - from),
    });
  }
  // Planes first: one number has one thread to add it up.
  const sums = recorder.flat(`${label}.sums`, channels);
  const whole = { tensor: sums, offset: 0, size: channels * 4 };
  reducePartials(recorder, `${label} planes`, partials, whole, { chunks: planes, length: channels });
  reducePartials(recorder, `${label} sum`, sums, dSlope, { chunks: channels, length: 1 });
}
