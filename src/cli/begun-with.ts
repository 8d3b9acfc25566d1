/** The data that a training began with, so that what goes on with it has the same. */
import * as v from 'valibot';
import { regionsSchema, type Region } from '../data/regions.ts';
import { InvalidDataset } from '../errors.ts';
import { listed, some } from '../listed.ts';
import { text, wholeNumber } from '../schema.ts';
import type { OpenedData } from './open-data.ts';
import type { RunFolder } from './run-folder.ts';

const names = v.array(text, 'a list of names');

/** What config.json keeps of the data; those of earlier versions have less. */
export const begunEntries = {
  labels: v.optional(names),
  regions: v.optional(regionsSchema),
  ignoreLabel: v.optional(wholeNumber(0, 255)),
  /** By case: see `TrainingData.contents`. */
  cases: v.optional(v.record(v.string(), text, 'hashes by case')),
};

export interface BegunWith {
  readonly labels?: readonly string[] | undefined;
  readonly regions?: readonly Region[] | undefined;
  readonly ignoreLabel?: number | undefined;
  readonly cases?: Readonly<Record<string, string>> | undefined;
}

/** What a training began with, and where it lies. */
export interface Begun extends BegunWith {
  readonly folder: RunFolder;
}

/** What there is to keep. */
export function begunWith({ dataset: { ignoreLabel }, data }: OpenedData): BegunWith {
  const { labels, regions, contents } = data;
  return {
    labels,
    ...(regions && { regions }),
    ...(ignoreLabel !== undefined && { ignoreLabel }),
    cases: Object.fromEntries(contents),
  };
}

/**
 * @param begun of the training itself, or of another fold of its cross-validation
 * @throws InvalidDataset where a training would go on with other classes, or with other voxels in a case that it
 *   learns from or is chosen by
 */
export function assertBegunWith({ folder, ...begun }: Begun, opened: OpenedData): void {
  const now = begunWith(opened);
  const { path } = folder;
  const remedy = `give it those again, or train ${anew(folder)}`;
  const { cases } = begun;
  if (!cases) return; // of a version that kept none
  const whole = ({ labels, regions, ignoreLabel }: BegunWith): string =>
    JSON.stringify([labels, regions, ignoreLabel]);
  if (whole(begun) !== whole(now))
    throw new InvalidDataset(
      `The data have the ${classesOf(now)}, but the training in ${path} began with the ${classesOf(begun)}: ${remedy}.`,
    );
  const learnt = (['train', 'validation'] as const).flatMap((part) => opened.split[part].cases);
  const others = learnt.filter((id) => Object.hasOwn(cases, id) && cases[id] !== now.cases?.[id]);
  if (others.length > 0)
    throw new InvalidDataset(
      `${others.length} case(s) have other voxels or spacing than when the training in ${path} began: ` +
        `${listed(others)}; ${remedy}.`,
    );
}

const anew = (folder: RunFolder): string =>
  folder.outermost === folder.path
    ? `anew in another folder${folder.has('model.safetensors') ? ` (--init ${folder.path} goes on from its weights)` : ''}`
    : 'all folds anew in another folder';

const classesOf = ({ labels = [], regions, ignoreLabel }: BegunWith): string =>
  [
    `classes ${some(labels)}`,
    ...(regions ? [`regions ${some(regions.map(regionText))}`] : []),
    ...(ignoreLabel === undefined ? [] : [`value ${ignoreLabel} of unknown voxels`]),
  ].join(', ');

const regionText = ({ name, labels, written }: Region): string =>
  `${name} (${labels.join('+')}, written as ${written})`;
