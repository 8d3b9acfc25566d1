/** `render`: a picture of a volume with its labels and prediction, one slice as PNG or all of them as GIF. */
import { basename } from 'node:path';
import { Command, Option } from 'commander';
import { readNifti } from '../../data/nifti.ts';
import { pictureFormat, renderCase } from '../../report/render.ts';
import { viewOf, type GridVolume, type Plane } from '../../report/view.ts';
import { writeFileAtomically } from '../../files/write.node.ts';
import { InvalidOption } from '../../errors.ts';
import { ofFiles } from '../failure.ts';
import type { Io } from '../io.ts';
import { checkOutputs } from '../outputs.ts';
import * as parse from '../parse.ts';

interface Options {
  readonly labels?: string;
  readonly prediction?: string;
  readonly out: string;
  readonly plane: Plane;
  readonly slice?: number;
  readonly names?: readonly string[];
  readonly channel: number;
  readonly size?: number;
  readonly ignore?: number;
}

export function renderCommand(io: Io): Command {
  return new Command('render')
    .description('Draw a volume with its labels and its prediction.')
    .argument('<IMAGE>', 'a NIfTI file')
    .option('--labels <file>', 'the truth, of the same place as the image')
    .option('--prediction <file>', 'the prediction, of the same place as the image')
    .requiredOption('--out <file>', 'a .png (one slice) or a .gif (all slices)')
    .addOption(new Option('--plane <plane>').choices(['axial', 'coronal', 'sagittal']).default('axial'))
    .option('--slice <n>', 'from 1 on; default: the one that shows the classes best', parse.wholeNumber(1))
    .option('--names <list>', 'names of the classes from 0 on, separated by commas', parse.names)
    .option('--channel <n>', 'of a 4-D image, from 0 on', parse.wholeNumber(0), 0)
    .option('--size <pixels>', 'width and height that a panel may fill', parse.wholeNumber(16, 2000))
    .option(
      '--ignore <value>',
      'of unknown voxels of --labels, which are not drawn',
      parse.wholeNumber(0, 255),
    )
    .addHelpText(
      'after',
      `
Examples:
  unet3d-gpu render image.nii.gz --labels truth.nii.gz --prediction predicted.nii.gz --out case.png
  unet3d-gpu render image.nii.gz --prediction predicted.nii.gz --plane sagittal --out case.gif`,
    )
    .action(async (image: string, options: Options) => {
      const format = pictureFormat(options.out);
      const { plane, slice } = options;
      if (slice !== undefined && format === 'gif')
        throw new InvalidOption(
          `--slice is ${slice}, but a GIF walks through all slices: leave --slice out, or give --out a .png`,
        );
      const read = [image, options.labels, options.prediction].filter((path) => path !== undefined);
      await checkOutputs([{ option: '--out', paths: [options.out] }], read);
      const volume = await channelOf(image, options.channel);
      const { slices } = viewOf(volume, plane);
      if (slice !== undefined && slice > slices)
        throw new InvalidOption(
          `--slice is ${slice}, but ${image} has ${slices} ${plane} slices: give one from 1 to ${slices}`,
        );
      const input = {
        name: basename(image),
        image: volume,
        ...(options.labels !== undefined && { truth: await channelOf(options.labels) }),
        ...(options.prediction !== undefined && { prediction: await channelOf(options.prediction) }),
      };
      const picture = await ofFiles(read, () =>
        renderCase(input, format, {
          plane,
          ignore: options.ignore,
          ...(slice !== undefined && { slice: slice - 1 }),
          ...(options.names !== undefined && { labels: options.names }),
          ...(options.size !== undefined && { panel: options.size }),
        }),
      );
      await writeFileAtomically(options.out, picture);
      io.out(options.out);
    });
}

/** One 3-D volume of a file; without a channel, of one that holds no more, as label maps do. */
async function channelOf(path: string, channel?: number): Promise<GridVolume> {
  const { data, shape, affine, spacing } = await readNifti(path);
  const [x = 1, y = 1, z = 1, ...rest] = shape;
  const voxels = x * y * z;
  const channels = rest.reduce((a, b) => a * b, 1);
  if (channel === undefined && channels > 1)
    throw new InvalidOption(`${path} holds ${channels} volumes: give a label map, which is one`);
  const at = channel ?? 0;
  if (at >= channels)
    throw new InvalidOption(`${path} has ${channels} channel(s); --channel is ${at}, counted from 0`);
  return {
    data: data.subarray(at * voxels, (at + 1) * voxels),
    shape: [x, y, z],
    affine,
    spacing,
  };
}
