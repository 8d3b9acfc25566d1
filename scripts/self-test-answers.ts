/**
 * The answers that the self-test holds a device to: of ops by the float64 loops in test/reference, losses by PyTorch.
 * `tsx scripts/self-test-answers.ts` writes src/self-test/answers.ts. The Python named by PYTHON (default
 * /usr/bin/python3) needs torch.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportPytorch } from '../src/export/pytorch.ts';
import { setAdapterProvider } from '../src/gpu/device.ts';
import { releaseNodeGpu, requestNodeAdapter } from '../src/gpu/node.ts';
import { defaultLimits } from '../src/gpu/plan.ts';
import { OpBench } from '../src/self-test/bench.ts';
import { opCases } from '../src/self-test/kernels.ts';
import { encodeSketch, sketch } from '../src/self-test/sketch.ts';
import {
  batchOf,
  batchSize,
  classes,
  diceWeights,
  learningRate,
  network,
  size,
  steps,
} from '../src/self-test/training.ts';
import { UNet3D } from '../src/unet3d.ts';
import { references } from '../test/reference/self-test.ts';
import { runPython } from '../test/support/python.ts';

/** Sketches by op and result. */
export function opAnswers(): Record<string, string> {
  const answers: Record<string, string> = {};
  for (const op of opCases) {
    const bench = new OpBench(op, defaultLimits);
    const results = references[op.name]!(bench);
    for (const name of bench.results) {
      const result = results[name]!;
      answers[`${op.name}: ${name}`] = encodeSketch(sketch('data' in result ? result.data : result));
    }
  }
  return answers;
}

const program = `
import json, sys
import numpy as np
import torch
folder = sys.argv[1]
sys.path.insert(0, sys.argv[2])
from unet3d import load
about = json.load(open(folder + "/about.json"))
net = load(folder + "/model.pth")[0].double().train()
optimizer = torch.optim.Adam(net.parameters(), lr=about["learningRate"])
x, y, z = about["size"]
losses = []
for step in range(about["steps"]):
    shape = about["batchSize"], 1, z, y, x
    image = torch.from_numpy(np.fromfile(f"{folder}/{step}.f32", "<f4").reshape(shape)).double()
    label = torch.from_numpy(np.fromfile(f"{folder}/{step}.u8", "u1").reshape(shape)[:, 0].astype("i8"))
    p = net(image).softmax(1)
    g = torch.nn.functional.one_hot(label, about["classes"]).permute(0, 4, 1, 2, 3)
    both, over = (p + g).sum((2, 3, 4)), 2 * (p * g).sum((2, 3, 4))
    dice = (over + 1e-5) / (both + 1e-5)
    loss = (torch.tensor(about["diceWeights"]) * (1 - dice)).sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(json.dumps(losses))
`;

/** Losses of PyTorch in float64, from the self-test's initial weights on its batches. Needs a GPU for the weights. */
export async function pytorchLosses(): Promise<number[]> {
  const folder = await mkdtemp(join(tmpdir(), 'self-test-'));
  try {
    using model = await UNet3D.create(network);
    await writeFile(join(folder, 'model.pth'), await exportPytorch(await model.save()));
    const about = { size, steps, batchSize, classes, diceWeights, learningRate };
    await writeFile(join(folder, 'about.json'), JSON.stringify(about));
    for (let step = 0; step < steps; step++) {
      const { image, label } = batchOf(step);
      await writeFile(join(folder, `${step}.f32`), image);
      await writeFile(join(folder, `${step}.u8`), label);
    }
    const examples = fileURLToPath(new URL('../examples/pytorch', import.meta.url));
    return JSON.parse(await runPython(program, [folder, examples])) as number[];
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  setAdapterProvider(requestNodeAdapter);
  const text = `/**
 * What the self-test holds a device to: made by scripts/self-test-answers.ts from float64 loops and PyTorch, in the form
 * of sketch.ts. Not to be edited.
 */

/** Sketches of the right results, by op and result. */
export const answers: Readonly<Record<string, string>> = ${JSON.stringify(opAnswers(), null, 2)};

/** Of the steps of training.ts. */
export const losses: readonly number[] = ${JSON.stringify(await pytorchLosses())};
`;
  await writeFile(fileURLToPath(new URL('../src/self-test/answers.ts', import.meta.url)), text);
  await releaseNodeGpu();
}
