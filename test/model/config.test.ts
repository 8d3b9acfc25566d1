/** Configurations: what they are completed to, and what sizes they take. */
import { describe, expect, test } from 'vitest';
import { completeConfig, paddedSize, sizeMultiple, type UNet3DConfig } from '../../src/model/config.ts';
import { planTraining } from '../../src/model/plan.ts';
import { unet } from '../../src/model/unet.ts';

const net = { inChannels: 1, classes: 2, features: [4, 8, 16] };

describe('strides', () => {
  test('of 2 along every axis are what a configuration without any has', () => {
    const usual = { ...net, strides: [2, 2].map(() => [2, 2, 2] as const) };
    expect(completeConfig(usual)).toEqual(completeConfig(net));
    expect(sizeMultiple(completeConfig(net))).toEqual([4, 4, 4]);
  });

  const config = completeConfig({
    ...net,
    strides: [
      [2, 2, 1],
      [2, 1, 2],
    ],
  });

  test('decide by how much each axis shrinks, and to what volumes are padded', () => {
    expect(sizeMultiple(config)).toEqual([4, 2, 2]);
    expect(paddedSize(config, [9, 9, 9])).toEqual([12, 10, 10]);
    const { graph } = unet(config, { batch: 1, size: [12, 10, 6] });
    const sizeOf = (name: string) => graph.nodes.find((node) => node.name === name)!.shape.size;
    expect(sizeOf('encoder.1.pool')).toEqual([6, 5, 6]);
    expect(sizeOf('encoder.2.conv2')).toEqual([3, 5, 3]);
    expect(sizeOf('decoder.1.up')).toEqual([6, 5, 6]);
    expect(sizeOf('head')).toEqual([12, 10, 6]);
  });

  test('other sizes are refused with the multiples of each axis', () => {
    const loss = { classes: 2, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };
    const shape = { config, batch: 1, loss, optimizer: { kind: 'adam' } } as const;
    expect(() => planTraining({ ...shape, size: [12, 10, 5] })).toThrow(
      'takes sizes in multiples of 4, 2, 2 (x, y, z); got [12, 10, 5] (x, y, z)',
    );
  });

  test.each<[unknown]>([
    [[[2, 2, 2]]],
    [
      [
        [2, 2, 3],
        [2, 2, 2],
      ],
    ],
    [
      [
        [2, 2],
        [2, 2, 2],
      ],
    ],
    ['2'],
    [[2, 2]],
  ])('%j are refused', (strides) => {
    const given = { ...net, strides } as unknown as UNet3DConfig;
    expect(() => completeConfig(given)).toThrow(
      /strides.* is .*; give x, y, z of 1 or 2 for each level but the first, such as \[2, 2, 1\]/,
    );
  });
});
