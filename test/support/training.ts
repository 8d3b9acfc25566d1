/** What tests of the training loop train on, and where they keep checkpoints. */
import { random } from '../../src/data/random.ts';
import { fromArrays, type PreparedCase } from '../../src/data/prepare.ts';
import type { CheckpointStore } from '../../src/train/checkpoint.ts';
import { previousName } from '../../src/files/store.ts';

/** A bright box in noise. */
export function box(seed: number): PreparedCase {
  const source = random(seed, 'box');
  const [x0, y0, z0] = [source.int(5), source.int(4), source.int(3)];
  const label = new Uint8Array(11 * 9 * 8);
  for (let i = 0; i < label.length; i++) {
    const [x, y, z] = [i % 11, Math.floor(i / 11) % 9, Math.floor(i / 99)];
    label[i] = x >= x0 && x < x0 + 5 && y >= y0 && y < y0 + 4 && z >= z0 && z < z0 + 4 ? 1 : 0;
  }
  const image = Float32Array.from(label, (value) => value + source.normal(0, 0.3));
  const dims = [11, 9, 8];
  return fromArrays(`box${seed}`, { data: image, dims }, { data: label, dims });
}

/** A store in memory, which keeps the file before as well. */
export function memory(): CheckpointStore & { files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    save: (name, bytes) => {
      const before = files.get(name);
      if (before) files.set(previousName(name), before);
      files.set(name, bytes.slice());
      return Promise.resolve();
    },
    load: (name) => Promise.resolve(files.get(name)),
  };
}
