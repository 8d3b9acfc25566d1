/** What nnU-Net makes of images before the network, against its own arrays. */
import { describe, expect, test } from 'vitest';
import '../../../src/data/source.node.ts';
import { readImage } from '../../../src/interop/nnunet/pipeline/image.ts';
import { nnunetInput } from '../../../src/interop/nnunet/pipeline/preprocess.ts';
import { fixtureNames, missing, nnunetFixture } from '../../support/nnunet.ts';

describe('as nnU-Net', () => {
  test.for(fixtureNames)('%s', async (name, { skip }) => {
    skip(missing !== undefined, missing);
    const { told, plans, images, floats } = nnunetFixture(name);
    const { endToEnd } = told;
    const image = await readImage(images, plans);
    expect([...image.size].reverse()).toEqual(endToEnd.shapeBeforeCropping);
    // The fixture has it along the file's axes.
    expect([...image.spacing].reverse()).toEqual(plans.transpose.map((axis) => endToEnd.spacing[axis]));
    const { data, size, box } = nnunetInput(image, plans);
    expect([...box.start].reverse()).toEqual(endToEnd.box.map(([start]) => start));
    expect([...box.size].reverse()).toEqual(endToEnd.box.map(([start, end]) => end - start));
    expect([image.channels.length, ...[...size].reverse()]).toEqual(endToEnd.preprocessed.shape);
    const wanted = floats('preprocessed.f32');
    let most = 0;
    wanted.forEach((value, at) => (most = Math.max(most, Math.abs(value - data[at]!))));
    expect(most).toBeLessThan(1e-4);
  });
});
