/** Norms, activations, pooling, sums and changes of size, forward and backward. */
import { activationBackward, activationForward } from '../../ops/activation.ts';
import { keepStatistics, normBackward, normForward, normInference, type NormKind } from '../../ops/norm.ts';
import { updateArray } from '../../ops/optimizer.ts';
import { padBackward, padForward } from '../../ops/pad.ts';
import { averagePoolBackward, coarserLabels, pooledSize, poolBackward, poolForward } from '../../ops/pool.ts';
import { preluBackwardInput, preluBackwardSlope, preluForward } from '../../ops/prelu.ts';
import { sumBackward, sumForward } from '../../ops/sum.ts';
import { upsampleBackward, upsampleForward } from '../../ops/upsample.ts';
import { batch, oddSize, type OpCase } from '../bench.ts';

export const channels = 4;
/** As the model lays weight and bias of a norm out: the second begins at the next binding. */
export const second = 64;
export const slope = 0.125;
export const groups = 2;
export const paddedSize = [8, 7, 6] as const;
export const smallSize = [5, 3, 2] as const;

const normOptions = { biasOffset: second, varianceOffset: second, epsilon: 1e-5, momentum: 0.1 };

function norm(kind: NormKind): OpCase {
  return {
    name: `${kind} norm`,
    record(bench) {
      const { recorder } = bench;
      const source = bench.volume('source', channels);
      const weightBias = bench.words('weightBias', second + channels);
      const running = bench.changedWords('running', bench.words('running', second + channels));
      const options = { kind, ...(kind === 'group' && { groups }), ...normOptions, slope };
      const result = normForward(recorder, 'norm', source, { ...options, weightBias, running });
      const through = { tensor: source, scaleShifts: result.scaleShifts, slope };
      const other = { tensor: bench.volume('other', channels) };
      sumForward(recorder, 'read', [through, other], bench.target('output', channels));
      const dWeightBias = bench.words('dWeightBias', new Float64Array(second + channels));
      bench.changedWords('dWeightBias', dWeightBias);
      const tensors = { source, dActivated: bench.volume('dActivated', channels), result, dWeightBias };
      const dSource = bench.target('dInput', channels);
      normBackward(recorder, 'apart', { ...tensors, dSource }, options);
      normBackward(recorder, 'in place', tensors, options);
      bench.changed('dInput in place', source);
    },
  };
}

const inference: OpCase = {
  name: 'norm, running statistics',
  record(bench) {
    const { recorder } = bench;
    const positive = Float64Array.from({ length: second + channels }, (_, i) => (1 + (i % 5)) / 4);
    const moved = bench.words('moved', positive);
    const running = bench.changedWords('running', bench.words('running', second + channels));
    const update = bench.words('update', updateArray()).tensor;
    const kept = { moved: moved.tensor, update, statistics: running.tensor };
    keepStatistics(recorder, 'keep', second + channels, kept);
    const weightBias = bench.words('weightBias', second + channels);
    const state = { kind: 'batch', ...normOptions, weightBias, running } as const;
    const scaleShifts = normInference(recorder, 'norm', batch, channels, state);
    const through = { tensor: bench.volume('source', channels), scaleShifts, slope };
    const other = { tensor: bench.volume('other', channels) };
    sumForward(recorder, 'read', [through, other], bench.target('output', channels));
  },
};

const activation: OpCase = {
  name: 'activation',
  record(bench) {
    const { recorder } = bench;
    const source = bench.volume('source', channels);
    const through = {
      tensor: source,
      scaleShifts: activationForward(recorder, 'scaleShifts', source),
      slope,
    };
    const other = { tensor: bench.volume('other', channels) };
    sumForward(recorder, 'read', [through, other], bench.target('output', channels));
    activationBackward(recorder, 'backward', source, bench.volume('dOutput', channels), slope);
    bench.changed('dInput', source);
  },
};

const sum: OpCase = {
  name: 'sum',
  record(bench) {
    const { recorder } = bench;
    const inputs = [bench.normed('input 0', channels), bench.normed('input 1', channels)] as const;
    sumForward(recorder, 'forward', inputs, bench.target('output', channels));
    const added = bench.changed('added', bench.volume('before', channels));
    sumBackward(recorder, 'added', bench.volume('dOutput', channels), added, true);
  },
};

const prelu: OpCase = {
  name: 'PReLU',
  record(bench) {
    const { recorder } = bench;
    const input = { tensor: bench.volume('input', channels) };
    const factor = bench.words('slope', [0.25]);
    preluForward(recorder, 'forward', { input, slope: factor, target: bench.target('output', channels) });
    const dOutput = bench.volume('dOutput', channels);
    const dInput = bench.target('dInput', channels);
    preluBackwardInput(recorder, 'dInput', { input, slope: factor, dOutput, dInput });
    preluBackwardSlope(recorder, 'dSlope', { input, dOutput, dSlope: bench.targetWords('dSlope', 1) });
  },
};

const pad: OpCase = {
  name: 'padding',
  record(bench) {
    const { recorder } = bench;
    const source = bench.volume('source', channels);
    padForward(recorder, 'forward', source, bench.target('output', channels, paddedSize));
    const dTarget = bench.volume('dOutput', channels, paddedSize);
    padBackward(recorder, 'backward', { dTarget, dSource: bench.target('dInput', channels) });
  },
};

const pool: OpCase = {
  name: 'pooling',
  record(bench) {
    const { recorder } = bench;
    const stride = [2, 2, 2] as const;
    const source = bench.normed('source', channels);
    const size = pooledSize(oddSize, stride);
    poolForward(recorder, 'forward', { source, target: bench.target('output', channels, size) });
    const dTarget = bench.volume('dOutput', channels, size);
    const dSource = bench.changed('dInput', bench.volume('before', channels));
    poolBackward(recorder, 'backward', { source, dTarget, dSource });
    const mean = { source, target: bench.target('mean', channels, size) };
    poolForward(recorder, 'mean', mean, stride, 'average');
    averagePoolBackward(recorder, 'dMean', { dTarget, dSource: bench.target('dMean', channels) });
    const labels = bench.labelled('labels', [0, 1, 2, 3]);
    const target = bench.targetLabels('coarser', size);
    coarserLabels(recorder, 'labels', { source: labels, target }, stride, 'first');
  },
};

const upsample: OpCase = {
  name: 'upsampling',
  record(bench) {
    const { recorder } = bench;
    const size = smallSize.map((n) => 2 * n) as unknown as typeof oddSize;
    const source = bench.volume('source', channels, smallSize);
    upsampleForward(recorder, 'forward', source, bench.target('output', channels, size));
    const dTarget = bench.volume('dOutput', channels, size);
    upsampleBackward(recorder, 'backward', { dTarget, dSource: bench.target('dInput', channels, smallSize) });
  },
};

export const layers: readonly OpCase[] = [
  norm('batch'),
  norm('instance'),
  norm('group'),
  inference,
  activation,
  sum,
  prelu,
  pad,
  pool,
  upsample,
];
