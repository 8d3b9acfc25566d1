/** Whether a model and the cases at hand mean the same: what it finds is drawn and learnt by label value. */
import type { Region } from 'unet3d-gpu/worker';
import { namesOf, regionsOf } from './findings.ts';
import { KeptModel } from './kept-model.ts';
import { channelCount, classCount } from './planning.ts';
import { classNames, state, valuesApart, type OpenModel } from './state.ts';

/** As names are compared. */
const plain = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .replace(/^label (?=\d+$)/, 'class ');

/** The first value that two lists have different names for. */
const firstApart = (some: readonly string[], others: readonly string[]): number | undefined =>
  valuesApart(some.map(plain), others.map(plain))[0];

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
  const here = regions ? written(state.regions ?? []) : classNames(classCount());
  const found = namesOf(model);
  const value = firstApart(found, here);
  if (value !== undefined)
    return (
      `The open model calls label ${value} "${found[value]}", and here that is "${here[value]}": what it finds would be ` +
      'taken for something else. Open a model of these classes, or give the same names under "Data".'
    );
  const read = model instanceof KeptModel && inChannels > 1 ? model.description.channels : [];
  const image = firstApart(['', ...read], ['', ...state.channels]);
  return image === undefined
    ? ''
    : `The open model reads "${read[image - 1]}" as image ${image} of a case, and here that is "${state.channels[image - 1]}": open a model of images in this order.`;
}
