/** `check`: everything that is wrong or odd with a data set, in one go. */
import { Command } from 'commander';
import { checkDataset, type DatasetReport } from '../../data/check.ts';
import type { Dataset } from '../../data/dataset.ts';
import {
  addDatasetOptions,
  addSplitOptions,
  datasetHelp,
  openFromArguments,
  splitOf,
  type DatasetArguments,
  type SplitArguments,
} from '../dataset-options.ts';
import { Unsatisfactory } from '../failure.ts';
import { outText, type Io } from '../io.ts';
import { anisotropyTip, trainFeatures } from '../network-options.ts';
import * as parse from '../parse.ts';
import { digits } from '../../format.ts';
import { table, toJson } from '../text.ts';

interface Options extends DatasetArguments, SplitArguments {
  readonly json?: boolean;
}

export function checkCommand(io: Io): Command {
  const command = new Command('check').description(
    'Read every file of a data set and list all problems: shapes, places, spacing, labels, intensities, duplicates.',
  );
  return addSplitOptions(addDatasetOptions(command))
    .option('--seed <n>', 'of the split', parse.wholeNumber(0), 0)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `${datasetHelp}
Leaves with 1 if there is a problem that would stop a training with this split; warnings alone leave with 0.

Examples:
  unet3d-gpu check data/hippocampus
  unet3d-gpu check --images scans --labels masks --json`,
    )
    .action(async (folder: string | undefined, options: Options) => {
      const quiet = { ...io, err: () => undefined }; // the report holds the warnings
      const dataset = await openFromArguments(quiet, folder, options);
      const report = await checkDataset(dataset, {
        signal: io.signal,
        split: (cases) => splitOf(cases, options),
        onProgress: (loaded, total) => {
          if (io.isTerminal) io.status(`reading case ${loaded} of ${total}`);
        },
      });
      const errors = report.problems.filter(({ severity }) => severity === 'error').length;
      if (options.json) {
        outText(io, toJson({ name: dataset.name, errors, ...plain(report) }, 2));
        if (errors > 0) throw new Unsatisfactory('');
        return;
      }
      io.out(...show(dataset, report));
      if (errors > 0)
        throw new Unsatisfactory(
          `${counted(errors, 'error')} would stop a training; correct what is named above`,
        );
    });
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

const plain = (report: DatasetReport): object => ({
  problems: report.problems,
  fingerprint: report.fingerprint,
  cases: report.cases.map(({ classVoxels, ...facts }) => ({
    ...facts,
    foreground: undefined, // thousands of samples
    ...(classVoxels ? { classVoxels: Object.fromEntries(classVoxels) } : {}),
  })),
});

/** What is to be found where that overlaps, and what is written for it. */
const regionLines = ({ regions }: Dataset): string[] =>
  regions
    ? [
        '',
        ...table([
          ['region', 'labels', 'written as'],
          ...regions.map(({ name, labels, written }) => [name, labels.join(', '), String(written)]),
        ]),
      ]
    : [];

/** How much of each label is known, where some of it is not. */
function annotatedLines({ ignoreLabel }: Dataset, { cases }: DatasetReport): string[] {
  const inPart = cases.flatMap(({ id, shape, annotated }) =>
    annotated ? [{ id, shape, ...annotated }] : [],
  );
  if (ignoreLabel === undefined || inPart.length === 0) return [];
  const labelled = cases.filter(({ classVoxels }) => classVoxels).length;
  return [
    '',
    ...table([
      ['annotated', 'voxels', 'share', 'slices x, y, z', 'of'],
      ...inPart.map(({ id, shape, voxels, slices }) => [
        id,
        String(voxels),
        `${digits((100 * voxels) / shape.reduce((a, b) => a * b, 1), 1)} %`,
        slices.join(' x '),
        shape.join(' x '),
      ]),
    ]),
    `${counted(labelled - inPart.length, 'case')} annotated throughout, ${inPart.length} in part`,
  ];
}

function show(dataset: Dataset, report: DatasetReport): string[] {
  const { problems, fingerprint } = report;
  const lines = [`${dataset.name}: ${dataset.cases.length} case(s)`];
  if (fingerprint) {
    const { shape, spacing, subjects, orientations, classes } = fingerprint;
    const tip = anisotropyTip(spacing.median, shape.median, trainFeatures.length);
    const range = (values: typeof shape, count: number): string[] =>
      [values.min, values.median, values.max].map((item) => item.map((n) => digits(n, count)).join(' x '));
    const stored = Object.entries(orientations).map(([code, cases]) => `${code} (${cases})`);
    lines.push(
      `${subjects} subject(s); stored as ${stored.join(', ')}`,
      '',
      ...table([
        ['', 'smallest', 'median', 'largest'],
        ['voxels x, y, z', ...range(shape, 0)],
        ['spacing mm', ...range(spacing, 2)],
      ]),
      ...(tip ? [tip] : []),
      '',
      ...table([
        ['class', 'cases', 'share of voxels'],
        ...classes.map(({ value, cases, share }) => [
          `${value} ${dataset.labels[value] ?? ''}`.trim(),
          String(cases),
          `${digits(share * 100, 2)} %`,
        ]),
      ]),
      ...regionLines(dataset),
      ...annotatedLines(dataset, report),
    );
  }
  lines.push('');
  const order = { error: 0, warning: 1 };
  for (const { severity, message } of [...problems].sort((a, b) => order[a.severity] - order[b.severity]))
    lines.push(`${severity}: ${message}`);
  const of = (kind: 'error' | 'warning'): string =>
    counted(problems.filter(({ severity }) => severity === kind).length, kind);
  lines.push(problems.length === 0 ? 'No problem was found.' : `${of('error')}, ${of('warning')}`);
  return lines;
}
