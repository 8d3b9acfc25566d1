/** Models at once, the same one again, and files that change while their model is open. */
import { copyFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import { filesIn } from '../../src/data/dataset.node.ts';
import { readNifti } from '../../src/data/nifti.ts';
import { openEnsembleFolder } from '../../src/ensemble.node.ts';
import { InvalidModel } from '../../src/errors.ts';
import { MonaiPredictor } from '../../src/interop/monai/predictor.ts';
import { NnunetPredictor } from '../../src/interop/nnunet/pipeline/predictor.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { copyOf } from '../support/copy.node.ts';
import { testDevice } from '../support/device.ts';
import { interopFolder, nnunetFixture } from '../support/interop.ts';
import { temporaryFolder } from '../support/temporary.node.ts';

const found = await nnunetFixture('plain-iso');

if (!found) test('models', ({ skip }) => skip(`${interopFolder} is not there`));
else
  describe('models', () => {
    const image = `${found.folder}/case/images/case_0000.nii.gz`;
    const monai = `${interopFolder}/monai-unet-res2`;
    /** An eighth of the work. */
    const unmirrored = { mirror: false };
    const labelsAt = async (path: string) => (await readNifti(path)).data;

    /** A copy of the model's folder: its files, and the weights of its two folds. */
    async function copied() {
      const folder = await copyOf(join(found!.folder, 'model'));
      const { files } = await filesIn(folder);
      const [zero, one] = ['0', '1'].map(
        (fold) =>
          files.find(({ path }) => path.endsWith(`fold_${fold}/checkpoint_final.pth`))!.source as string,
      ) as [string, string];
      return { folder, files, zero, one };
    }

    test('several at once on one device, one of them twice, and one that is closed before the others', async () => {
      const { device } = await testDevice();
      const first = await NnunetPredictor.load(found.files, { device });
      const expected = (await first.predict(image, unmirrored)).labels;
      using again = await NnunetPredictor.load(found.files, { device });
      using other = await MonaiPredictor.load((await filesIn(`${monai}/bundle`)).files, { device });
      const [a, b, c] = await Promise.all([
        first.predict(image, unmirrored),
        again.predict(image, unmirrored),
        other.predict(`${monai}/case/image.nii.gz`),
      ]);
      expect([a.labels, b.labels]).toEqual([expected, expected]);
      expect(Array.from(c.labels.data)).toEqual(
        Array.from(await labelsAt(`${monai}/case/segmentation.nii.gz`)),
      );
      first.dispose();
      expect((await again.predict(image, unmirrored)).labels).toEqual(expected);
    });

    test('weights that are replaced or removed under an open model are told, not mixed with those before', async () => {
      const { device } = await testDevice();
      const { folder, files, zero, one } = await copied();
      using open = await openEnsembleFolder(folder, { device });
      const before = (await open.predict(image, { tta: false })).labels;
      // Of the same size, as another training of the same network has it.
      await copyFile(zero, one);
      await utimes(one, 1e9, 1e9);
      await expect(open.predict(image, { tta: false })).rejects.toThrow(InvalidModel);
      await expect(open.predict(image, { tta: false })).rejects.toThrow(
        /fold_1.*has been replaced or removed since .*open the model again/,
      );
      using anew = await NnunetPredictor.load(files, { device });
      expect((await anew.predict(image, unmirrored)).labels.data).not.toEqual(before.data);
      await rm(one);
      await expect(anew.predict(image, unmirrored)).rejects.toThrow(InvalidModel);
    });

    test('so are those of folds of this package', async () => {
      const { device } = await testDevice();
      const folder = await temporaryFolder();
      const save = async (seed: number, name: string): Promise<void> => {
        using model = await UNet3D.create({ inChannels: 1, classes: 2, features: [2, 3], seed, device });
        await writeFile(join(folder, name), await model.save());
      };
      await save(1, 'a.safetensors');
      await save(2, 'b.safetensors');
      using ensemble = await openEnsembleFolder(folder, { device });
      await ensemble.predict(image);
      await save(3, 'b.safetensors');
      await expect(ensemble.predict(image)).rejects.toThrow(/b\.safetensors has been replaced or removed/);
    });
  });
