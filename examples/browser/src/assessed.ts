/** The worker's part in a report: figures and pictures of what a network has found in cases, and which files these are. */
import type { CaseMetrics, CasePicture } from 'unet3d-gpu/report';
import { evaluateRegions, ignored, type LabelledCase, type Region } from 'unet3d-gpu/worker';
import { hex, sha256 } from './hash.ts';
import { pause } from './pieces.ts';

export interface Found {
  readonly cases: readonly LabelledCase[];
  /** Labels of each of them. */
  readonly predictions: readonly Uint8Array[];
  /** Class names by label value. */
  readonly labels: readonly string[];
  /** Names of what is scored: these classes, or regions of them. */
  readonly scored: readonly string[];
  readonly regions: readonly Region[] | undefined;
}

/** Metrics of each case, and pictures of the best, the median and the worst. @throws what the signal is aborted with */
export async function assessed({ cases, predictions, labels, scored, regions }: Found, signal: AbortSignal) {
  const { casePicture, evaluateCase, mapsOver, pickCases } = await import('unet3d-gpu/report');
  const classes = [...labels];
  const metrics: CaseMetrics[] = [];
  for (const [index, { id, label, shape, spacing }] of cases.entries()) {
    await pause();
    signal.throwIfAborted();
    const truth = { data: label, shape, spacing };
    const prediction = { data: predictions[index]!, shape, spacing };
    const options = { classes, name: id, ignore: ignored };
    metrics.push(
      regions
        ? evaluateRegions(truth, prediction, { ...options, regions })
        : evaluateCase(truth, prediction, options),
    );
  }
  const pictures: CasePicture[] = [];
  for (const { title, index } of pickCases(metrics)) {
    await pause();
    signal.throwIfAborted();
    const { id, image, label, shape, spacing } = cases[index]!;
    const first = { data: image.subarray(0, label.length), shape, spacing };
    const [truth, prediction] = [label, predictions[index]!].map((data) => ({ data, shape }));
    const maps = mapsOver({ name: id, image: first, truth: truth!, prediction: prediction! }, ignored);
    const volumes = { image: first, truth: maps.truth!, prediction: maps.prediction! };
    pictures.push(await casePicture(title, metrics[index]!, volumes, { labels: classes, scored }));
  }
  return { metrics, pictures };
}

/** SHA-256 of a file, in hexadecimal digits. */
export const hashOf = async (file: Blob): Promise<string> => hex(await sha256(await file.arrayBuffer()));
