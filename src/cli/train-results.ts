/** What a training leaves behind and says at its end. */
import { subjectsOf } from '../data/subjects.ts';
import { axesToFlip } from '../infer/probabilities.ts';
import { some } from '../listed.ts';
import { diceTable, type Summary } from '../metrics/summary.ts';
import type { TrainingResult } from '../train/events.ts';
import { hashOfHashes, sha256 } from './provenance.ts';
import { writeResults } from './results.ts';
import type { TestResult } from './test-run.ts';
import { digits, duration } from '../format.ts';
import { printable, toJson } from './text.ts';
import type { configOf, Job } from './train-job.ts';
import type { Settings } from './train-settings.ts';
import { legendOf } from './training-data.ts';

/** What a training ended with. */
export interface Ended {
  readonly config: ReturnType<typeof configOf>;
  readonly result: TrainingResult;
  readonly test: TestResult;
}

/** The metrics, pictures and the report. */
export async function writeAll(
  job: Job,
  { plan }: Settings,
  { config, result, test }: Ended,
): Promise<Summary | undefined> {
  const { folder, options, details, dataset, split, data, model, hashes, clock } = job;
  const used = new Set((['train', 'validation', 'test'] as const).flatMap((name) => split[name].cases));
  const files = await hashes.of(dataset.cases.filter(({ id }) => used.has(id)));
  const { weights, ...tested } = test;
  return writeResults(folder, {
    title: dataset.name,
    model,
    ...legendOf(data),
    values: data.labels,
    split,
    training: result,
    plan,
    ...tested,
    subjects: subjectsOf(dataset, test.cases),
    config: {
      ...config.network,
      ...config.training,
      preprocessing: data.preprocessing,
      'test-time augmentation': options.tta
        ? `mirrored along ${some(axesToFlip(model.description))}`
        : 'none',
    },
    dataset: {
      name: dataset.name,
      cases: dataset.cases.length,
      channels: some(dataset.channels) || String(data.channels),
    },
    seed: options.seed,
    hashes: { 'model.safetensors': sha256(weights), 'all data files': hashOfHashes(files), ...files },
    timings: clock.stages,
    command: details.command,
  });
}

export function announceResults(
  { io, folder, options, data }: Job,
  { epochs }: Settings,
  { result, test: { part, cases } }: Ended,
  summary: Summary | undefined,
): void {
  const { bestEpoch, bestDice, seconds, history, stoppedEarly } = result;
  if (options.json) {
    const tested = summary && { part, dice: summary.classes.map((entry) => entry.dice.mean) };
    io.out(toJson({ type: 'result', ...tested, bestEpoch, bestDice, seconds, out: folder.path }));
    return;
  }
  for (const note of summary?.notes ?? []) io.err(`note: ${note}`);
  if (stoppedEarly) io.out('', `Stopped after ${history.length} of ${epochs} epochs.`);
  io.out(
    '',
    data.validation.length > 0
      ? `Best epoch ${bestEpoch + 1} (smoothed validation Dice): its mean validation Dice is ${digits(bestDice)}`
      : 'Nothing was left to validate on; the weights are those of the last epoch.',
  );
  const table = summary && diceTable(summary, data.scored.map(printable)).trimEnd().split('\n');
  if (table)
    io.out(
      `${part === 'test' ? 'Test' : 'Validation (no test part)'}: ${cases.length} case(s)`,
      '',
      ...table,
    );
  else io.out('Trained on all cases; nothing was left to test on.');
  io.out(
    '',
    `Trained for ${duration(seconds)}. In ${folder.path}: report.html, model.safetensors, progress.png, ` +
      `${summary ? 'slices.png, predictions/, ' : ''}history.csv, metrics.json, split.json, config.json`,
  );
}
