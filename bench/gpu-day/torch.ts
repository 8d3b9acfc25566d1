/**
 * The same step in PyTorch on CUDA (bench/peers/torch_peer.py): losses, milliseconds, memory, one forward pass, and how far
 * the gradients of its first step are from those that step.ts and other modes left in the folder. With --convs
 * convolutions by themselves in place of it. Needs no Vulkan.
 *   torch.ts --mode cuda --folder FOLDER [--size …] [--batch 2] [--features …] [--steps 8]
 *   torch.ts --mode cuda --convs 16:256,256,128;32:128,128,64
 */
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import type { NamedTensor } from '../../src/weights/safetensors.ts';
import { kinds } from '../convs.ts';
import { worstGradient } from '../gradients.ts';
import { spread } from '../lib.ts';
import { Peer } from '../peers/peer.ts';
import { caseOf, caseOptions, configOf, seed, writeCase, type StepCase } from './case.ts';
import { convCases } from './conv-cases.ts';
import { bytesText, takenBytes, tell } from './tell.ts';

const { values: options } = parseArgs({
  options: {
    ...caseOptions,
    mode: { type: 'string', default: 'cuda' },
    steps: { type: 'string', default: '8' },
    convs: { type: 'string' },
  },
});
const python = process.env['PYTHON'] ?? 'python3';
const { mode, folder } = options;
const peer = new Peer(`torch-${mode}`, python, ['bench/peers/torch_peer.py', mode]);
const steps = Number(options.steps);
tell({ mode, ...(await peer.ask<{ version: string }>({ do: 'version' })) });

/** Every file of gradients but this mode's own, and the names and shapes to read it by. */
function others(given: StepCase): [name: string, ReadonlyMap<string, NamedTensor>][] {
  const { parameters, parameterWords } = layoutParameters(configOf(given));
  const shapes = namedTensors(parameters, initialValues(parameters, parameterWords, seed));
  const files = readdirSync(folder).filter((file) => /^(ours|torch)-.*\.f32$/.test(file));
  return files
    .filter((file) => file !== `${peer.name}.f32`)
    .map((file) => {
      const flat = floats(file);
      let at = 0;
      const tensors = [...shapes].map(
        ([
          name,
          {
            shape,
            data: { length },
          },
        ]): [string, NamedTensor] => [name, { shape, data: flat.subarray(at, (at += length)) }],
      );
      return [file.replace('.f32', ''), new Map(tensors)];
    });
}

function floats(file: string): Float32Array<ArrayBuffer> {
  const bytes = readFileSync(join(folder, file));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

async function step(): Promise<void> {
  const given = caseOf(options);
  mkdirSync(folder, { recursive: true });
  writeCase(folder, given);
  const first = await peer.ask<{ loss: number; firstMs: number }>({ do: 'prepare', folder });
  const losses = [first.loss];
  tell({ case: given, losses, firstMs: first.firstMs });
  // Relative to the other, so that beside float64 all are relative to what is right.
  const own = floats(`${peer.name}.f32`);
  tell({
    apart: Object.fromEntries(others(given).map(([name, theirs]) => [name, worstGradient(own, theirs)])),
  });
  const times: number[] = [];
  for (let i = 1; i < steps; i++) {
    const { loss, ms } = await peer.ask<{ loss: number; ms: number }>({ do: 'step' });
    losses.push(loss);
    times.push(ms);
  }
  const memory = await peer.ask<{ tensorBytes?: number; heldBytes?: number }>({ do: 'memory' });
  const timing = spread(times);
  tell({
    losses,
    ...timing,
    ...memory,
    takenBytes: takenBytes(),
    line:
      `PyTorch, ${mode}: ${timing.median.toFixed(1)} ms (${timing.least.toFixed(1)}–${timing.most.toFixed(1)}), tensors ` +
      `${bytesText(memory.tensorBytes)}, held ${bytesText(memory.heldBytes)}; first step ` +
      `${(first.firstMs / 1000).toFixed(1)} s; loss ${losses[0]!.toFixed(5)} to ${losses.at(-1)!.toFixed(5)}`,
  });
  const forward: number[] = [];
  for (let i = 0; i < 4; i++) forward.push((await peer.ask<{ ms: number }>({ do: 'forward' })).ms);
  tell({ forward: spread(forward.slice(1)) });
}

async function convolutions(list: string): Promise<void> {
  const rows: unknown[] = [];
  for (const { channels, size } of convCases(list)) {
    await peer.ask({ do: 'prepareConv', folder: null, channels, size, batch: 2 });
    for (const kind of kinds) {
      const times: number[] = [];
      for (let i = 0; i < 7; i++) times.push((await peer.ask<{ ms: number }>({ do: 'conv', kind })).ms);
      rows.push({ kind, channels, size, ...spread(times.slice(2)) });
      tell({ rows });
    }
  }
  tell({ line: `PyTorch, ${mode}: ${rows.length} convolutions timed` });
}

await (options.convs === undefined ? step() : convolutions(options.convs));
peer.end();
process.exit(0);
