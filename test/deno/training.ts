/**
 * Trainings of five steps with augmentation, each with an evaluation, for two engines on one adapter to be held against
 * each other: scripts/test-deno.ts runs it on Deno and on Node. Writes what came out to the file that it is given.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { sha256, hexadecimal } from '../../src/hash.ts';
import { fromArrays, nnunetAugmentation, phantoms, releaseNodeGpu, UNet3D } from '../../src/node.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';

/** What is to be the same on both, by name. */
export type Results = Readonly<Record<string, readonly number[] | string>>;

const shape: Size3 = [16, 16, 8];
const [unseen, ...seen] = phantoms(6, { shape }).map(({ image, labels, affine }, subject) => {
  const grid = { dims: shape, affine };
  return fromArrays(`phantom ${subject}`, { data: image, ...grid }, { data: labels, ...grid });
});

const bits = async (bytes: Uint8Array): Promise<string> => hexadecimal(await sha256(Uint8Array.from(bytes)));

async function trained(precision: Precision): Promise<Results> {
  using model = await UNet3D.create({
    inChannels: 1,
    classes: 6,
    features: [4, 8],
    norm: 'instance',
    seed: 1,
  });
  console.log(`${'Deno' in globalThis ? navigator.userAgent : `Node ${process.version}`}: ${model.adapter}`);
  const losses: number[] = [];
  const onEvent = (event: { type: string; loss?: number }): void =>
    void (event.type === 'step' && losses.push(event.loss!));
  const how = {
    epochs: 1,
    batchSize: 1,
    augmentation: nnunetAugmentation(),
    seed: 5,
    precision,
    tune: false,
    onEvent,
  };
  await model.fit(seen, how);
  const [score] = await model.evaluate([unseen!]);
  return {
    [`losses, ${precision}`]: losses,
    [`weights, ${precision}`]: await bits(await model.save()),
    [`scores, ${precision}`]: [score!.loss, ...score!.dice],
    [`labels, ${precision}`]: await bits(score!.predicted),
  };
}

const results = { ...(await trained('f32')), ...(await trained('f16')) };
writeFileSync(process.argv[2]!, JSON.stringify(results));
await releaseNodeGpu();
