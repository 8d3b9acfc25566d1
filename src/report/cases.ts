/**
 * The best, the median and the worst case of an evaluation, and their pictures for the report.
 */
import * as v from 'valibot';
import { className, digits } from '../format.ts';
import { meanDefined } from '../metrics/dice.ts';
import type { CaseMetrics } from '../metrics/evaluate.ts';
import { assertOptions } from '../options.ts';
import { list, numbers, object, text, withParts } from '../schema.ts';
import { encodePng } from './png.ts';
import { sliceGif, sliceGrid } from './slices.ts';
import { volumeSchema, type GridVolume } from './view.ts';

/** A case in pictures. */
export interface CasePicture {
  /** For example "Best case". */
  readonly title: string;
  /** Of the case. */
  readonly name: string;
  /** What it shows, in a line. */
  readonly caption: string;
  /** Image, truth, prediction and difference side by side. */
  readonly png: Uint8Array;
  /** The walk through the slices. */
  readonly gif?: Uint8Array;
}

/** Mean Dice over the foreground classes where it is defined; NaN without any. */
export const foregroundDice = ({ classes }: CaseMetrics): number =>
  meanDefined(classes.slice(1).map(({ dice }) => dice));

/** Best, median and worst by mean foreground Dice; fewer titles where there are fewer cases. */
export function pickCases(cases: readonly CaseMetrics[]): { title: string; index: number }[] {
  assertOptions('pickCases', { cases: list('a list of what evaluateCase gives') }, { cases });
  const ranked = cases
    .map((entry, index) => ({ score: foregroundDice(entry), index }))
    .filter(({ score }) => !Number.isNaN(score))
    .sort((a, b) => b.score - a.score || a.index - b.index);
  const picks = [
    { title: 'Best case', rank: 0 },
    { title: 'Median case', rank: Math.floor((ranked.length - 1) / 2) },
    { title: 'Worst case', rank: ranked.length - 1 },
  ];
  const seen = new Set<number>();
  return picks.flatMap(({ title, rank }) => {
    const index = ranked[rank]?.index;
    if (index === undefined || seen.has(index)) return [];
    seen.add(index);
    return [{ title, index }];
  });
}

const names = v.array(text, 'a list of names of classes');
const pictureEntries = {
  title: text,
  metrics: withParts('what evaluateCase gives', 'name', 'classes'),
  volumes: object({ image: volumeSchema, truth: numbers, prediction: numbers }),
};

/**
 * Pictures of one case.
 * @param metrics for the caption
 * @param options.labels names by label value
 * @param options.scored names of what was scored, background first, where that is not the labels
 */
export async function casePicture(
  title: string,
  metrics: CaseMetrics,
  volumes: {
    readonly image: GridVolume;
    readonly truth: ArrayLike<number>;
    readonly prediction: ArrayLike<number>;
  },
  options: { readonly labels: readonly string[]; readonly scored?: readonly string[] },
): Promise<CasePicture> {
  assertOptions('casePicture', pictureEntries, { title, metrics, volumes });
  assertOptions('casePicture', { labels: names, scored: v.optional(names) }, options);
  const { labels, scored = labels } = options;
  const scores = metrics.classes
    .slice(1)
    .map(({ dice }, index) => `${className(scored, index + 1)} ${digits(dice)}`)
    .join(', ');
  const entry = {
    name: metrics.name,
    ...volumes,
    caption: `mean Dice ${digits(foregroundDice(metrics))}`,
  };
  const grid = sliceGrid([entry], { labels, columns: ['image', 'truth', 'prediction', 'difference'] });
  return {
    title,
    name: metrics.name,
    caption: `Dice: ${scores}`,
    png: await encodePng(grid),
    gif: sliceGif(volumes.image, volumes.truth, volumes.prediction, { labels }),
  };
}
