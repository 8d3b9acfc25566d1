/** Models as MONAI has them: the state dicts and definitions that they came from, here and as PyTorch reads them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { exportMonai } from '../../src/export/monai.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { readNetwork } from '../../src/interop/monai/network.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { wholeConfig } from '../../src/model/config.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import { Storages, writePytorch } from '../../src/weights/pytorch/write.ts';
import type { NamedTensor } from '../../src/weights/safetensors.ts';
import {
  interopFixture,
  interopFolder,
  monaiFolders,
  monaiModel,
  type InteropFixture,
} from '../support/interop.ts';
import { runPython, withoutPytorch } from '../support/python.ts';
import { modelBytes, modelOfNnunet } from './networks.ts';
import { nnunetFixture } from '../support/interop.ts';

type MonaiFixture = InteropFixture & {
  readonly network: { readonly _target_: string };
  readonly files: readonly string[];
};

const fixtureOf = (name: string) => interopFixture<MonaiFixture>(`monai-${name}`);

describe.each(monaiFolders)('monai-%s', (name) => {
  test('its definition, and its state dict to the bit and in order', async ({ skip }) => {
    const [found, model] = [await fixtureOf(name), await monaiModel(name)];
    if (!found || !model) return skip(`${interopFolder} is not there`);
    const converted = await convertMonai(model);
    const { files } = await exportMonai(converted);
    expect(files.map(({ path }) => path)).toEqual(['model.pt', 'network.json']);
    const definition = JSON.parse(new TextDecoder().decode(files[1]!.source)) as MonaiFixture['network'];
    expect(definition._target_).toBe(found.fixture.network._target_);
    const [again, original] = [definition, found.fixture.network].map(
      (given) => readNetwork(given, name).config,
    );
    expect(wholeConfig(again!)).toEqual(wholeConfig(original!));
    const theirs = await readStateDict(await found.bytesAt(found.fixture.files[0]!), 'theirs');
    const ours = await readStateDict(files[0]!.source, 'ours');
    expect([...ours.keys()]).toEqual([...theirs.keys()]);
    for (const [key, tensor] of theirs) {
      expect(ours.get(key)!.shape, key).toEqual(tensor.shape);
      const [a, b] = [await ours.get(key)!.read(), await tensor.read()];
      expect(
        a.findIndex((value, at) => value !== b[at]),
        key,
      ).toBe(-1);
    }
    // As the two files that they are, they are opened here, too.
    expect(await readModel(await convertMonai(await openMonai(files)))).toEqual(await readModel(converted));
  });
});

test('a network whose names begin as those of a module that holds it: in a checkpoint, itself and held', async ({
  skip,
}) => {
  const model = await monaiModel('unet-res2');
  if (!model) return skip(`${interopFolder} is not there`);
  const converted = await convertMonai(model);
  const { files } = await exportMonai(converted);
  const saved = await readStateDict(files[0]!.source, 'model.pt');
  for (const prefix of ['', 'model.', 'net._orig_mod.']) {
    const storages = new Storages();
    const dict = new Map<string, NamedTensor>();
    for (const [key, tensor] of saved)
      dict.set(prefix + key, { shape: tensor.shape, data: await tensor.read() });
    const source = writePytorch({ epoch: 3, state_dict: storages.stateDict(dict) }, storages);
    const held = await openMonai([{ path: 'last.ckpt', source }, files[1]!]);
    expect(Buffer.compare(await convertMonai(held), converted), prefix).toBe(0);
  }
});

test('PyTorch reads the same tensors, aliases included', async ({ skip }) => {
  if (withoutPytorch !== undefined) skip(withoutPytorch);
  if (!(await fixtureOf('dynunet'))) return skip(`${interopFolder} is not there`);
  const folder = await mkdtemp(join(tmpdir(), 'unet3d-monai-'));
  try {
    for (const name of monaiFolders) {
      const { files } = await exportMonai(await convertMonai((await monaiModel(name))!));
      await writeFile(join(folder, `${name}.pt`), files[0]!.source);
      const found = (await fixtureOf(name))!;
      await writeFile(join(folder, `${name}-theirs.pt`), await found.bytesAt(found.fixture.files[0]!));
    }
    const program = `
import sys, torch
for name in sys.argv[2:]:
    ours, theirs = (torch.load(f"{sys.argv[1]}/{name}{end}.pt", map_location="cpu", weights_only=True) for end in ("", "-theirs"))
    theirs = theirs.get("model", theirs)
    assert list(ours) == list(theirs), name
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name
    print(len({tensor.data_ptr() for tensor in ours.values()}) == len({tensor.data_ptr() for tensor in theirs.values()}))
`;
    expect(await runPython(program, [folder, ...monaiFolders])).toBe('True\n'.repeat(monaiFolders.length));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('what no class of MONAI has is named', async ({ skip }) => {
  await expect(exportMonai(await modelBytes('batch'))).rejects.toThrow(InvalidModel);
  await expect(exportMonai(await modelBytes('batch'))).rejects.toThrow(
    /cannot be written for MONAI: the network has .*MONAI's DynUNet .*; export it to pytorch or onnx/,
  );
  const found = await nnunetFixture('resenc');
  if (!found) return skip(`${interopFolder} is not there`);
  await expect(exportMonai(await modelOfNnunet(found.files))).rejects.toThrow(/shortcut "pool"/);
});
