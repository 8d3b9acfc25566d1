/** What the kernels take for granted of their tiles. */
import { describe, expect, test } from 'vitest';
import {
  forwardNeeds,
  forwardTiles,
  weightConstants,
  weightNeeds,
  weightTiles,
} from '../../src/gpu/tiles.ts';

/** What every WebGPU device grants. */
const least = { bytes: 16384, threads: 256 };

describe.each(Object.entries(forwardTiles))('%s', (_, tile) => {
  test('a thread for each quad of a plane with its halo', () => {
    const { quads, lines, planes, rows, pitch } = tile;
    const { threads, bytes } = forwardNeeds(tile);
    expect(threads).toBe(quads * lines * planes);
    expect((quads + 2) * (rows * lines + 2)).toBeLessThanOrEqual(threads);
    expect(pitch).toBeGreaterThanOrEqual(quads + 2);
    expect(bytes).toBe(16 * pitch * (rows * lines + 2) * (planes + 2));
  });

  test('runs on every device', () => {
    const { threads, bytes } = forwardNeeds(tile);
    expect(threads).toBeLessThanOrEqual(least.threads);
    expect(bytes).toBeLessThanOrEqual(least.bytes);
  });
});

describe.each(Object.entries(weightTiles))('%s', (_, tile) => {
  test.each([1, 2, 3, 5, 8, 16, 100])(
    '%i input channels: a thread for each staged quad of one',
    (channels) => {
      const { INPUTS, LANES, GROUPS, QUADS, LINES, SPAN } = weightConstants(tile, channels);
      const { threads } = weightNeeds(tile, channels);
      expect(threads).toBe(LANES * INPUTS * 3 * GROUPS);
      expect(threads).toBeLessThanOrEqual(least.threads);
      expect((QUADS + 2) * (LINES + 2)).toBeLessThanOrEqual(Math.min(threads, SPAN));
      expect(QUADS * LINES).toBeLessThanOrEqual(threads);
      expect(QUADS % LANES).toBe(0);
      expect(LANES * INPUTS).toBe(tile.columns);
    },
  );
});

test('some weight gradients run on every device', () => {
  const small = Object.values(weightTiles).filter((tile) => weightNeeds(tile).bytes <= least.bytes);
  expect(small.length).toBeGreaterThan(1);
});
