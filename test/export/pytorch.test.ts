/** Exported files in PyTorch itself: loaded strictly into the network of examples/pytorch, they give PyTorch's logits. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exportPytorch } from '../../src/export/pytorch.ts';
import { errorOf, imageOf, modelBytes, networkNames } from './networks.ts';
import { runPython, withoutPytorch } from '../support/python.ts';

const program = `
import json, sys
sys.path[:0] = ["examples/pytorch"]
import numpy, torch
from unet3d import load
folder = sys.argv[1]
for name, shape in json.loads(sys.argv[2]).items():
    net, description = load(f"{folder}/{name}.pth")
    image = numpy.fromfile(f"{folder}/{name}.f32", "<f4").reshape(shape)
    with torch.no_grad():
        net(torch.from_numpy(image)).numpy().astype("<f4").tofile(f"{folder}/{name}.out")
    print(description["labels"][1])
`;

test('logits', async ({ skip }) => {
  if (withoutPytorch !== undefined) skip(withoutPytorch);
  const folder = await mkdtemp(join(tmpdir(), 'unet3d-export-'));
  try {
    for (const name of networkNames) {
      await writeFile(join(folder, `${name}.pth`), await exportPytorch(await modelBytes(name)));
      await writeFile(join(folder, `${name}.f32`), imageOf(name).data);
    }
    const shapes = Object.fromEntries(networkNames.map((name) => [name, imageOf(name).shape]));
    const told = await runPython(program, [folder, JSON.stringify(shapes)]);
    expect(told).toBe('part 1\n'.repeat(networkNames.length));
    for (const name of networkNames) {
      const { buffer } = new Uint8Array(await readFile(join(folder, `${name}.out`)));
      expect(errorOf(name, new Float32Array(buffer)), name).toBeLessThan(1e-5);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
