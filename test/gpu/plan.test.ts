/** Plans without a GPU: lifetimes and reuse of buffers, slabs under tiny limits, limits checked before allocation. */
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { GpuError, OutOfMemory } from '../../src/errors.ts';
import { alignment, defaultLimits, Recorder, type Plan, type Tensor } from '../../src/gpu/plan.ts';
import { planInference, planSlabs, planTraining } from '../../src/model/plan.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { reducePartials } from '../../src/ops/common.ts';
import { limitsOf, view } from '../support/run.ts';

const trainingPlan = (limits = limitsOf()) =>
  planTraining({
    config: completeConfig({ inChannels: 1, classes: 3, features: [4, 8, 16] }),
    size: [16, 16, 16],
    batch: 2,
    limits,
    loss: { classes: 3, dice: 1, crossEntropy: 1, smooth: 1e-5, batchDice: false },
    optimizer: { kind: 'adam' },
  }).plan;

/** One dispatch that reads `from` and writes `to`. */
function copy(recorder: Recorder, from: Tensor, to: Tensor): void {
  reducePartials(recorder, `${from.name} to ${to.name}`, from, view(to, 16), { chunks: 1, length: 16 });
}

/** Tensors that share a buffer live at different times, fit it, and every use lies within a lifetime. */
function expectSound(plan: Plan): void {
  const pooled = plan.tensors.filter(
    ({ storage, first }) => (storage === 'transient' || storage === 'result') && first >= 0,
  );
  for (const one of pooled) {
    expect(plan.buffers[one.buffer], one.name).toBeGreaterThanOrEqual(one.bytes);
    for (const other of plan.tensors) {
      if (other === one || other.buffer !== one.buffer) continue;
      const apart = other.last < one.first || one.last < other.first;
      expect(apart, `${one.name} and ${other.name} share buffer ${one.buffer}`).toBe(true);
    }
  }
  plan.dispatches.forEach(({ bindings, label }, index) => {
    for (const { tensor, offset, size } of Object.values(bindings)) {
      const { first, last } = plan.tensors[tensor.id]!;
      expect(first <= index && index <= last, `${label} uses ${tensor.name}`).toBe(true);
      expect(offset + size, `${label}: ${tensor.name}`).toBeLessThanOrEqual(tensor.bytes);
      expect(offset % alignment, `${label}: ${tensor.name}`).toBe(0);
    }
  });
}

describe('buffers', () => {
  test('a chain of tensors needs two buffers', () => {
    const recorder = new Recorder();
    const chain = Array.from({ length: 6 }, (_, i) => recorder.flat(`t${i}`, 64));
    for (let i = 1; i < chain.length; i++) copy(recorder, chain[i - 1]!, chain[i]!);
    const plan = recorder.finish();
    expectSound(plan);
    expect(plan.buffers).toEqual([256, 256]);
    expect(plan.tensors.map(({ first, last }) => [first, last])).toEqual([
      [0, 0],
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 4],
    ]);
  });

  test('residents keep their own, shared ones have none here, unused ones none at all', () => {
    const recorder = new Recorder();
    const [a, b] = [recorder.flat('a', 64, 'resident'), recorder.flat('b', 64, 'shared')];
    const [c, d] = [recorder.flat('c', 64), recorder.flat('d', 64)];
    recorder.flat('unused', 1000);
    copy(recorder, a, c);
    copy(recorder, c, b);
    copy(recorder, b, d);
    const plan = recorder.finish();
    expectSound(plan);
    expect(plan.tensors.map(({ buffer }) => buffer)).toEqual([0, -1, 1, 1, -1]);
    expect(plan.buffers).toEqual([256, 256]);
    expect(plan.paramBytes).toBe(3 * alignment);
    expect(plan.peakBytes).toBe(256 + 256 + 256 + 3 * alignment);
  });

  test('random plans are sound, and no smaller than what is alive at once', () => {
    const source = random(7, 'plans');
    for (let round = 0; round < 30; round++) {
      const recorder = new Recorder();
      const tensors = Array.from({ length: 12 }, (_, i) => recorder.flat(`t${i}`, 64 * (1 + source.int(9))));
      for (let i = 0; i < 15; i++) {
        const [from, to] = source.shuffle(tensors);
        copy(recorder, from!, to!);
      }
      const plan = recorder.finish();
      expectSound(plan);
      const allocated = plan.buffers.reduce((sum, bytes) => sum + bytes, 0);
      plan.dispatches.forEach((_, index) => {
        const alive = plan.tensors.filter(({ first, last }) => first >= 0 && first <= index && index <= last);
        expect(allocated).toBeGreaterThanOrEqual(alive.reduce((sum, { bytes }) => sum + bytes, 0));
      });
    }
  });

  test('a result takes the place of what came before it, and keeps it to the end', () => {
    const recorder = new Recorder();
    const chain = Array.from({ length: 7 }, (_, i) =>
      recorder.flat(`t${i}`, 64, i === 3 ? 'result' : 'transient'),
    );
    for (let i = 1; i < chain.length; i++) copy(recorder, chain[i - 1]!, chain[i]!);
    const plan = recorder.finish();
    expectSound(plan);
    expect(plan.buffers).toEqual([256, 256, 256]);
    expect([plan.tensors[3]!.first, plan.tensors[3]!.last]).toEqual([2, 5]);
    expect(plan.tensors[3]!.buffer).toBe(plan.tensors[1]!.buffer);
  });

  test('many classes cost inference no memory beside the widest layer', () => {
    const bytesOf = (classes: number): number => {
      const config = completeConfig({ inChannels: 1, classes, features: [32, 64] });
      const { plan } = planInference({ config, size: [32, 32, 32], batch: 1 });
      expectSound(plan);
      return plan.buffers.reduce((sum, bytes) => sum + bytes, 0);
    };
    expect(bytesOf(25)).toBe(bytesOf(2));
  });

  test('a residual encoder costs inference its first volume, two of the next level and a few slabs of planes', () => {
    const config = completeConfig({
      ...{ inChannels: 1, classes: 3, features: [32, 64, 128], norm: 'instance', down: 'conv' },
      ...{ block: 'residual', encoderBlocks: [1, 3, 2], decoderBlocks: [1, 1] },
    });
    const limits = { ...defaultLimits, maxBindingBytes: 2 ** 30, maxBufferBytes: 2 ** 30 };
    const { plan } = planSlabs({ config, size: [128, 128, 128], batch: 1, limits }, 'logits');
    expectSound(plan);
    const voxels = 128 ** 3;
    const volumes = 4 * (1 * voxels + 32 * voxels + 2 * 64 * (voxels / 8));
    const slab = 4 * 10 * 32 * 128 ** 2; // eight planes of the first level, and one on either side
    expect(plan.buffers.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(volumes + 3 * slab);
    const pooled = plan.tensors.filter(({ name }) => name === 'encoder.1.block1.skip.pool');
    expect(Math.max(...pooled.map(({ bytes }) => bytes))).toBeLessThanOrEqual(2 ** 24);
  });

  test('a training step is sound, reuses memory, and is plain data', () => {
    const plan = trainingPlan();
    expectSound(plan);
    const transient = plan.tensors.filter(({ storage, first }) => storage === 'transient' && first >= 0);
    const total = transient.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(plan.buffers.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(total / 2);
    expect(structuredClone(plan)).toEqual(plan);
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  test('is the same every time', () => {
    expect(trainingPlan()).toEqual(trainingPlan());
  });
});

describe('slabs', () => {
  const recorder = new Recorder(limitsOf({ maxBindingBytes: 4096, maxDispatchFlops: 14000 }));
  const small = recorder.volume('small', 1, 1, [4, 4, 4]); // 64 bytes a plane
  const large = recorder.volume('large', 2, 3, [9, 5, 7]); // 720 bytes a plane

  /** Ranges follow one another and cover every plane once. */
  function expectCover(ranges: readonly (readonly [number, number])[], planes: number): void {
    expect(ranges[0]![0]).toBe(0);
    expect(ranges.at(-1)![1]).toBe(planes);
    ranges.slice(1).forEach(([from], i) => expect(from).toBe(ranges[i]![1]));
    for (const [from, to] of ranges) expect(to).toBeGreaterThan(from);
  }

  test('one where all fits', () => {
    expect(recorder.slabs(4, [{ tensor: small, halo: 1 }])).toEqual([[0, 4]]);
    expect(recorder.planes(small, 1, 3)).toEqual({
      view: { tensor: small, offset: 0, size: small.bytes, used: 2 * small.planeBytes },
      start: 0,
    });
  });

  test('several where it does not: each part with its halo fits one binding', () => {
    const ranges = recorder.slabs(14, [{ tensor: large, halo: 1 }]);
    expectCover(ranges, 14);
    expect(ranges.length).toBeGreaterThan(1);
    for (const [from, to] of ranges) {
      const { view, start } = recorder.planes(large, from - 1, to + 1);
      expect(view.size).toBeLessThanOrEqual(4096);
      expect(view.offset % alignment).toBe(0);
      expect(start).toBe(view.offset / 16);
      expect(view.offset).toBeLessThanOrEqual(Math.max(0, from - 1) * 720);
      expect(view.offset + view.size).toBeGreaterThanOrEqual(Math.min(14, to + 1) * 720);
    }
  });

  test('label bytes, whose planes are no multiple of 16 bytes, never exceed the binding', () => {
    const labels = recorder.labels('labels', 3, [548, 7, 41]);
    expect(labels.planeBytes).toBe(3836);
    for (const [from, to] of recorder.slabs(labels.planes, [{ tensor: labels }]))
      expect(recorder.planes(labels, from, to).view.size).toBeLessThanOrEqual(4096);
  });

  test('by work, by the grid, and at multiples', () => {
    // 64 bytes a plane, each as long as 4 operations
    const byWork = recorder.slabs(10, [{ tensor: small }], { flops: 60000 });
    expect(byWork).toEqual([0, 2, 4, 6, 8].map((from) => [from, from + 2]));
    const byMemory = recorder.slabs(60, [{ tensor: small, ratio: 2 }]);
    expect(byMemory).toEqual([0, 27, 54].map((from) => [from, Math.min(60, from + 27)]));
    expectCover(recorder.slabs(3, [{ tensor: small }], { flops: 1e9 }), 3);
    const byGrid = recorder.slabs(100_000, [{ tensor: small }], { groupsPerPlane: 2 });
    expectCover(byGrid, 100_000);
    for (const [from, to] of byGrid) expect((to - from) * 2).toBeLessThanOrEqual(65535);
    expect(recorder.slabs(10, [{ tensor: small }], { flops: 40000, multiple: 2 })).toEqual([
      [0, 2],
      [2, 4],
      [4, 6],
      [6, 8],
      [8, 10],
    ]);
  });

  test('a tensor that stores only some planes is bound relative to them', () => {
    const part = recorder.slab('part', { batch: 2, channels: 3, size: [9, 5, 7] }, [4, 12]);
    const { view, start } = recorder.planes(part, 6, 9);
    expect(part.bytes).toBe(Math.ceil((8 * 720) / 256) * 256);
    expect(view.offset).toBe(Math.floor((2 * 720) / 256) * 256);
    expect(start).toBe((4 * 720 + view.offset) / 16);
  });

  test('one plane too large: OutOfMemory with both sizes', () => {
    const wide = recorder.volume('wide', 1, 3, [32, 32, 2]);
    let caught: unknown;
    try {
      recorder.slabs(2, [{ tensor: wide, halo: 1 }]);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(OutOfMemory);
    expect(caught).toMatchObject({ planned: 3 * 12288, limit: 4096 });
    expect(String(caught)).toContain('wide: 3 planes of 12.0 KiB exceed the device');
  });

  test('a whole training step respects a tiny binding limit', () => {
    const limit = 128 * 1024;
    expect(trainingPlan().largestBindingBytes).toBeGreaterThan(limit);
    const plan = trainingPlan(limitsOf({ maxBindingBytes: limit }));
    expectSound(plan);
    expect(plan.largestBindingBytes).toBeLessThanOrEqual(limit);
    for (const { bindings } of plan.dispatches)
      for (const { size } of Object.values(bindings)) expect(size).toBeLessThanOrEqual(limit);
  });
});

describe('refused before anything is allocated', () => {
  test('a binding beyond the limit', () => {
    const recorder = new Recorder(limitsOf({ maxBindingBytes: 1024 }));
    const [a, b] = [recorder.flat('a', 300), recorder.flat('b', 16)];
    expect(() => copy(recorder, a, b)).toThrow(OutOfMemory);
    expect(() => copy(recorder, a, b)).toThrow(
      'binding partials (a) needs 1.25 KiB; this device binds at most 1.00 KiB: use smaller volumes or fewer features',
    );
  });

  test('a tensor beyond the largest buffer', () => {
    const recorder = new Recorder(defaultLimits);
    recorder.volume('huge', 1, 64, [128, 128, 128]);
    expect(() => recorder.finish()).toThrow(OutOfMemory);
    expect(() => recorder.finish()).toThrow(
      /huge, a tensor of the network, needs 512 MiB; .* largest buffer is 256 MiB/,
    );
  });

  test('a grid beyond the limit', () => {
    const recorder = new Recorder();
    const partials = recorder.flat('partials', 64);
    const result = view(recorder.flat('result', 64), 64);
    const reduce = (length: number) => () =>
      reducePartials(recorder, 'op', partials, result, { chunks: 1, length, part: 16 });
    expect(reduce(0)).toThrow(GpuError);
    expect(reduce(0)).toThrow('op: 1×0×1 workgroups; each axis takes at least 1');
    // As a buffer that is too large: windows or other kernels may take its place.
    expect(reduce(16 * 70_000)).toThrow(OutOfMemory);
    expect(reduce(16 * 70_000)).toThrow(
      'op: 1×70000×1 workgroups; WebGPU runs at most 65535 along an axis: use smaller volumes or fewer features',
    );
  });
});
