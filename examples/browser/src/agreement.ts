/** Whether a model and the cases at hand mean the same: what it finds is drawn and learnt by label value. */
import type { Region } from 'unet3d-gpu/worker';
import { namesOf, regionsOf } from './findings.ts';
import { KeptModel } from './kept-model.ts';
import { channelCount, classCount } from './planning.ts';
import { classNames, state, type OpenModel } from './state.ts';

/** As names are compared; empty for those that nobody gave. */
const plain = (name = ''): string =>
  /^(?:class|label|channel) \d+$/.test(name) ? '' : name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, ' ');

const differ = (one: string | undefined, other: string | undefined): boolean =>
  plain(one) !== '' && plain(other) !== '' && plain(one) !== plain(other);

const written = (regions: readonly Region[]): string[] =>
  regions.reduce<string[]>((names, region) => Object.assign(names, { [region.written]: region.name }), []);

/** Why the labels of a model would be others here; empty where they are the same, or of more classes. */
export function disagreement(model: OpenModel): string {
  const { inChannels } = model.config;
  const channels = state.report ? channelCount() : inChannels;
  if (inChannels !== channels)
    return `The open model reads ${inChannels} images of a case; there are ${channels}.`;
  const regions = regionsOf(model);
  // Values that are written for regions are those of labels within, under other names.
  const [found, here] = !regions
    ? [namesOf(model), classNames(classCount())]
    : state.regions
      ? [written(regions), written(state.regions)]
      : [[], []];
  const value = found.findIndex((name, at) => at > 0 && differ(name, here[at]));
  if (value > 0)
    return (
      `The open model calls label ${value} "${found[value]}", and here that is "${here[value]}": what it finds would be ` +
      'taken for something else. Open a model of these classes, or give the same names under "Data".'
    );
  const read = model instanceof KeptModel && inChannels > 1 ? model.description.channels : [];
  const image = read.findIndex((name, at) => differ(name, state.channels[at]));
  return image < 0
    ? ''
    : `The open model reads "${read[image]}" as image ${image + 1} of a case, and here that is "${state.channels[image]}": open a model of images in this order.`;
}
