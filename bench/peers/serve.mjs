/**
 * What the peers share: an adapter like the package's own as navigator.gpu, the case they are given, and a
 * conversation over standard input and output, one line of JSON each way. Run with `node --import tsx`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';

/** Puts `navigator.gpu` in place. */
export async function offerWebGpu() {
  const { gpu } = await requestNodeAdapter();
  const value = { gpu, userAgent: 'Node', hardwareConcurrency: 2 };
  Object.defineProperty(globalThis, 'navigator', { value, configurable: true, writable: true });
}

const floats = (path) => {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

/** The case of bench/peers.ts: weights by name, image [batch][z][y][x], label as one-hot [batch][class][z][y][x]. */
export function readCase(folder) {
  const { batch, size, classes } = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8'));
  const bytes = new Uint8Array(readFileSync(join(folder, 'weights.safetensors')));
  const { tensors } = readSafetensors(bytes);
  const weights = [...tensors].map(([name, { shape, data }]) => ({ name, shape: [...shape], data }));
  const image = floats(join(folder, 'image.f32'));
  const label = readFileSync(join(folder, 'label.u8'));
  const voxels = image.length / batch;
  const oneHot = new Float32Array(batch * classes * voxels);
  label.forEach((value, i) => {
    const sample = Math.floor(i / voxels);
    oneHot[(sample * classes + value) * voxels + (i % voxels)] = 1;
  });
  return { batch, size, classes, weights, image, oneHot, folder };
}

/** Arrays of one kernel's case, as bench/peers.ts wrote them. */
export const readFloats = (folder, name) => floats(join(folder, `${name}.f32`));

export function writeFloats(folder, name, arrays) {
  writeFileSync(
    join(folder, `${name}.f32`),
    Buffer.concat(arrays.map((a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength))),
  );
}

/** Answers each request {do, ...} with what `handlers[do]` gives. */
export async function serve(handlers) {
  for await (const line of createInterface(process.stdin)) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = await handlers[request.do](request);
    } catch (error) {
      answer = { error: String(error?.message ?? error) };
    }
    process.stdout.write(`@${JSON.stringify(answer ?? {})}\n`);
  }
  process.exit(0);
}

/** Milliseconds that `work` takes. */
export async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
