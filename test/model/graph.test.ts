/** The network as a graph: what a plan proves about the order of reads and writes, and which parameters follow. */
import { describe, expect, test } from 'vitest';
import { Recorder } from '../../src/gpu/plan.ts';
import type { Size3 } from '../../src/size.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { Graph, type Layer, type Node } from '../../src/model/graph.ts';
import { act } from '../../src/model/layers/act.ts';
import { conv } from '../../src/model/layers/conv.ts';
import { norm } from '../../src/model/layers/norm.ts';
import { pool } from '../../src/model/layers/pool.ts';
import { sum } from '../../src/model/layers/sum.ts';
import { upconv } from '../../src/model/layers/upconv.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { Recording } from '../../src/model/recording.ts';

const size: Size3 = [16, 8, 8];

describe('the order of reads and writes', () => {
  /** Two readers of a volume whose gradient takes its place; the second one is recorded after the fact. */
  function readLate(late: boolean): Recorder {
    const recorder = new Recorder();
    const volume = (name: string) => recorder.volume(name, 1, 2, size);
    const [y, pooled] = [volume('y'), volume('pooled')];
    const flat = recorder.flat('scaleShifts', 4);
    const bindings = { source: y, scaleShifts: flat, saved: flat, means: flat, gradient: volume('d') };
    const params = { width: 16, height: 8, depth: 8, rowQuads: 4, channels: 2, slope: 0 };
    const places = { plane0: 0, startSource: 0, startGradient: 0 };
    const write = () =>
      recorder.dispatch('norm/backward_apply', {
        label: 'gradient',
        bindings,
        params: { ...params, ...places },
        workgroups: [1, 1, 1],
      });
    write(); // what made y
    const seen = recorder.current(y);
    if (late) write();
    recorder.dispatch('loss/forward', {
      label: 'reader',
      bindings: { logits: seen, labels: pooled, classWeights: flat, partials: recorder.flat('sums', 4) },
      params: { area: 1, plane0: 0, startLogits: 0, startLabels: 0 },
      workgroups: [1, 1, 1],
    });
    return recorder;
  }

  test('a volume is not read once something else was written in its place', () => {
    expect(readLate(false).finish().dispatches).toHaveLength(2);
    expect(() => readLate(true)).toThrow(
      /^reader reads y \(binding logits\) as it was before something else was written in its place/,
    );
  });

  /** Backward through layers on an image, from a loss that is the sum of what `end` gives. */
  function record(build: (graph: Graph) => Node): Recorder {
    const graph = new Graph({ batch: 1, channels: 2, size });
    const last = build(graph);
    const loss: Layer = {
      operation: { kind: 'act', slope: 1 },
      shape: ([first]) => first!,
      at: (context, { inputs: [input] }) => ({
        lossGradient: (target) =>
          context.recorder.dispatch('infer/argmax', {
            label: 'loss',
            bindings: { logits: context.read(input!).tensor, labels: target },
            params: { area: 1, plane0: 0, startLogits: 0, startLabels: 0 },
            workgroups: [1, 1, 1],
          }),
      }),
    };
    graph.add('loss', loss, last);
    const recorder = new Recorder();
    const flat = new Map<string, { offset: number; length: number }>();
    let words = 0;
    for (const { name, layer, inputs } of graph.nodes)
      for (const spec of layer!.parameters?.(inputs.map(({ shape }) => shape)) ?? []) {
        const length = spec.shape.reduce((a, b) => a * b);
        flat.set(`${name}.${spec.name}`, { offset: words, length });
        words += 64 * Math.ceil(length / 64);
      }
    const shared = (name: string) => recorder.flat(name, words, 'shared');
    const layout = { parameters: flat, statistics: new Map() } as unknown as ReturnType<
      typeof layoutParameters
    >;
    const [parameters, statistics, gradients] = [shared('p'), shared('s'), shared('g')];
    const recording = new Recording(recorder, graph, { layout, parameters, statistics, gradients }, true);
    recording.forward(recorder.volume('image', 1, 2, size, 'resident'));
    recording.backward();
    return recorder;
  }

  test('a gradient in the place of a volume that somebody else reads is refused', () => {
    const chain = (graph: Graph) =>
      graph.add('norm', norm('instance', 0), graph.add('conv', conv(2), graph.image));
    expect(record(chain).dispatches.length).toBeGreaterThan(5);
    const shared = (graph: Graph) => {
      const y = graph.add('conv', conv(2), graph.image);
      return graph.add('join', conv(2), graph.add('act', act(0), y), y);
    };
    expect(() => record(shared)).toThrow(
      /the gradient of act takes the place of its input conv: no other layer may read that/,
    );
  });

  test('of a volume that others read, too, a norm leaves the gradient apart', () => {
    const shared = (graph: Graph) => {
      const y = graph.add('conv', conv(2), graph.image);
      return graph.add('join', sum, graph.add('norm', norm('instance', 0), y), y);
    };
    const shaders = record(shared).dispatches.map(({ shader }) => shader);
    expect(shaders).toContain('norm/backward_apart');
    expect(shaders).not.toContain('norm/backward_apply');
  });

  test('a gradient that nobody begins, or two that cannot be added, are refused', () => {
    const alone = (graph: Graph) =>
      graph.add('pool', pool([2, 2, 2]), graph.add('conv', conv(2), graph.image));
    expect(() => record(alone)).toThrow(/pool cannot begin the gradient of conv, which 1 layers read/);
    const up = upconv(2, [2, 2, 2]);
    const twice = (graph: Graph) => {
      const y = graph.add('conv', conv(2), graph.image);
      return graph.add('join', conv(2), graph.add('a', up, y), graph.add('b', up, y));
    };
    expect(() => record(twice)).toThrow(/cannot add to the gradient of conv, which 2 layers read/);
  });

  test('a sum hands its gradient on, but not what is written over before all have read it', () => {
    const labels = (build: (graph: Graph) => Node) => record(build).dispatches.map(({ label }) => label);
    /** The shortcut adds to the gradient that it shares with the main path, which has been read by then. */
    const identity = labels((graph) => {
      const x = graph.add('x', conv(2), graph.image);
      const main = graph.add('norm', norm('instance', 1), graph.add('main', conv(2), x));
      return graph.add('sum', sum, main, x);
    });
    expect(identity.filter((label) => label.startsWith('sum dX'))).toEqual([]);
    expect(identity.indexOf('main dX')).toBeGreaterThan(identity.indexOf('main dW'));
    /** Here another layer adds to the later input's gradient while the earlier one has still to read the sum's. */
    const early = labels((graph) => {
      const x = graph.add('x', conv(2), graph.image);
      const late = graph.add('late', conv(2), graph.image);
      const more = graph.add('more', conv(2), late);
      return graph.add('end', sum, graph.add('sum', sum, x, late), more);
    });
    expect(early).toContain('sum dX1');
    const twice = labels((graph) => {
      const x = graph.add('x', conv(2), graph.image);
      return graph.add('sum', sum, x, x);
    });
    expect(twice.filter((label) => label.startsWith('sum dX'))).toEqual(['sum dX0', 'sum dX1']);
  });

  test('a norm or an activation behind another is refused', () => {
    const chain = (graph: Graph) =>
      graph.add(
        'act',
        act(0),
        graph.add('norm', norm('instance', 1), graph.add('conv', conv(2), graph.image)),
      );
    expect(() => record(chain)).toThrow(
      /act reads norm, which has a norm or an activation of its own: join them/,
    );
  });

  test('a name is used once', () => {
    const graph = new Graph({ batch: 1, channels: 1, size });
    graph.add('conv', conv(2), graph.image);
    expect(() => graph.add('conv', conv(2), graph.image)).toThrow(/has a node conv already/);
  });
});

test('parameters lie in the order of the layers, each from a multiple of 64 words on', () => {
  const config = completeConfig({ inChannels: 2, classes: 3, features: [4, 6] });
  const { parameters, statistics, count } = layoutParameters(config);
  const block = (name: string) =>
    [1, 2].flatMap((i) =>
      ['conv', 'norm'].flatMap((kind) => [`${name}.${kind}${i}.weight`, `${name}.${kind}${i}.bias`]),
    );
  expect([...parameters.keys()]).toEqual([
    ...block('encoder.0'),
    ...block('encoder.1'),
    'decoder.0.up.weight',
    'decoder.0.up.bias',
    ...block('decoder.0'),
    'head.weight',
    'head.bias',
  ]);
  expect([...statistics.keys()].slice(0, 2)).toEqual([
    'encoder.0.norm1.running_mean',
    'encoder.0.norm1.running_var',
  ]);
  let words = 0;
  for (const { offset, length } of parameters.values()) {
    expect(offset).toBe(words);
    words += 64 * Math.ceil(length / 64);
  }
  expect(parameters.get('decoder.0.conv1.weight')!.shape).toEqual([4, 8, 3, 3, 3]);
  expect(parameters.get('decoder.0.up.weight')).toMatchObject({
    shape: [6, 4, 2, 2, 2],
    init: { fanIn: 32 },
  });
  const convolutions = (2 + 4 + 8 + 4) * 4 * 27 + (4 + 6) * 6 * 27;
  const biasesAndNorms = 3 * (4 * 4 + 2 * 6);
  expect(count).toBe(convolutions + biasesAndNorms + 6 * 4 * 8 + 4 + 3 * 4 + 3);
});
