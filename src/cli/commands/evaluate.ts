/** `evaluate`: predictions against the truth, per class and case, in Dice, millimetres and millilitres. */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Command, Option } from 'commander';
import { volumesAmong } from '../../data/dataset.ts';
import { filesIn } from '../../data/dataset.node.ts';
import { readDescription } from '../../data/dataset-json.ts';
import { highestLabel } from '../../data/label-values.ts';
import { readNifti } from '../../data/nifti.ts';
import { scoredNames } from '../../data/regions.ts';
import { readText } from '../../data/source.ts';
import { assignSubjects } from '../../data/subjects.ts';
import { sameCase, stemOf } from '../../data/volume-names.ts';
import { labelsByCase } from '../../data/volumes-by-case.ts';
import { Aborted, InvalidDataset, InvalidOption } from '../../errors.ts';
import { isFolderAt } from '../../files/folder.node.ts';
import { evaluate as evaluated, type CaseMetrics } from '../../metrics/evaluate.ts';
import {
  compareDice,
  diceTable,
  metricsCsv,
  metricsJson,
  pairCases,
  summarise,
} from '../../metrics/summary.ts';
import type { PostprocessingChoice } from '../../metrics/components.ts';
import { writeFileAtomically } from '../../files/write.node.ts';
import { className, digits } from '../../format.ts';
import { listed } from '../../listed.ts';
import { subjectPattern } from '../dataset-options.ts';
import { fileMessage, ofFiles } from '../failure.ts';
import { outText, type Io } from '../io.ts';
import { checkOutputs } from '../outputs.ts';
import { postprocessingFor } from '../postprocessing-choice.ts';
import * as parse from '../parse.ts';
import { printable } from '../text.ts';

interface Options {
  readonly classes?: number;
  readonly names?: readonly string[];
  readonly dataset?: string;
  readonly tolerance: number;
  readonly ignore?: number | undefined;
  readonly subjects?: string;
  readonly subjectPattern?: RegExp;
  readonly csv?: string;
  readonly out?: string;
  readonly also?: readonly string[];
  readonly onlyPredicted?: boolean;
  readonly onlyLabelled?: boolean;
  readonly postprocess?: boolean;
  readonly json?: boolean;
}

export function evaluateCommand(io: Io): Command {
  return new Command('evaluate')
    .description('Compare predictions with labels: Dice, IoU, HD95, ASSD, NSD, precision, recall, volumes.')
    .argument('<PREDICTIONS>', 'a NIfTI file or a folder of them, or of folders per case')
    .argument('<LABELS>', 'the truth: a file, or a folder with the same file names (CASE for CASE_0000)')
    .option(
      '--classes <n>',
      'classes, background included; default: as the labels show',
      parse.wholeNumber(2, 255),
    )
    .option('--names <list>', 'names of the classes from 0 on, separated by commas', parse.names)
    .addOption(
      new Option(
        '--dataset <folder>',
        'of a data set or its dataset.json: names, regions and unknown voxels as that says',
      ).conflicts(['names', 'classes', 'ignore']),
    )
    .option('--tolerance <mm>', 'of the normalised surface Dice (NSD)', parse.numberFrom(0), 1)
    .option(
      '--ignore <value>',
      'of unknown voxels in LABELS, from 0 to 255; they count in no metric',
      parse.wholeNumber(0, 255),
    )
    .option(
      '--also <folder>',
      'other predictions of the same cases, to be told which are better; may be given again and again',
      (path: string, before: readonly string[] | undefined) => [...(before ?? []), path],
    )
    .option('--subjects <file>', 'table of case,subject: intervals are over subjects; default: over cases')
    .addOption(subjectPattern())
    .option('--only-predicted', 'leave out labels that have no prediction')
    .option('--only-labelled', 'leave out predictions that have no label')
    .option(
      '--postprocess',
      'also tell for which classes the largest component alone has a higher mean Dice, in the best of the predictions',
    )
    .option('--csv <file>', 'write one line per case and class')
    .option('--out <file>', 'write cases and summary as JSON')
    .option(
      '--memory <bytes>',
      'as other commands take it; changes nothing, since metrics need no GPU memory',
      parse.memory,
    )
    .option('--json', 'print the JSON instead of the table')
    .addHelpText(
      'after',
      `
Distances are in mm with the spacing of the labels, volumes in ml; NaN (null in
JSON) where a class is missing. Files of the same place in space are compared
voxel over voxel, in whatever order and direction their axes are stored. Regions
of --dataset, which may overlap, are compared each as the set of its labels.

--also tells which of several models, folds or ensembles segments cases better
that none of them was trained on: by the mean foreground Dice, with the interval
of the difference over the cases. Where a class is not there and some find it,
those that find none of it have 1 for it. With --postprocess it tells, too, what
cleaning would add to the best of them.

Examples:
  unet3d-gpu evaluate predictions/ data/labelsTs/
  unet3d-gpu evaluate runs/1/predictions data/labelsTr --only-predicted
  unet3d-gpu evaluate predicted.nii.gz truth.nii.gz --names background,anterior,posterior
  unet3d-gpu evaluate predictions/ labels/ --ignore 255
  unet3d-gpu evaluate ensemble/ labels/ --also fold_0/ --also fold_1/ --postprocess
  unet3d-gpu evaluate predictions/ data/tumours/labelsTr --dataset data/tumours
  unet3d-gpu evaluate predictions/ labels/ --csv metrics.csv --out metrics.json`,
    )
    .action((predictions: string, labels: string, options: Options) =>
      evaluate(io, predictions, labels, options),
    );
}

async function evaluate(io: Io, predictions: string, labels: string, given: Options): Promise<void> {
  const described = given.dataset === undefined ? undefined : await descriptionAt(given.dataset);
  const description = described === undefined ? undefined : readDescription(await readText(described));
  const regions = description?.regions;
  const options = description ? { ...given, ignore: description.ignoreLabel } : given;
  const truths = await files(io, labels);
  const paths = [predictions, ...(options.also ?? [])];
  const sets: NamedFile[][] = [];
  for (const path of paths) sets.push(await files(io, path));
  await checkOutputs(
    [
      { option: '--csv', paths: options.csv === undefined ? [] : [options.csv] },
      { option: '--out', paths: options.out === undefined ? [] : [options.out] },
    ],
    [
      ...[...sets.flat(), ...truths].map(({ source }) => source),
      ...[described, options.subjects].filter((path) => path !== undefined),
    ],
  );
  const names = description?.labels ?? options.names;
  if (options.names && options.classes !== undefined && options.names.length !== options.classes)
    throw new InvalidOption(
      `--names has ${options.names.length} names, but --classes is ${options.classes}: name all classes, or leave one of the two out`,
    );
  const pairs = sets.map((predicted, at) =>
    // Two files are compared whatever they are called, those of folders by their names.
    predicted[0]!.source === paths[at] && truths[0]!.source === labels
      ? [{ name: truths[0]!.name, prediction: predicted[0]!.source, truth: truths[0]!.source }]
      : paired(io, predicted, truths, options),
  );
  const other = pairs.findIndex(
    (set) => set.map(({ name }) => name).join() !== pairs[0]!.map(({ name }) => name).join(),
  );
  if (other > 0)
    throw new InvalidDataset(
      `${paths[other]} has predictions of other cases than ${predictions}: give folders with those of the same cases`,
    );
  const classes =
    names ??
    options.classes ??
    (await highest(
      [...new Set(pairs.flat().flatMap(({ prediction, truth }) => [truth, prediction]))],
      options.ignore,
      io.signal,
    ));

  const table = options.subjects === undefined ? options.subjectPattern : await readText(options.subjects);
  const ids = pairs[0]!.map(({ name }) => ({ id: stemOf(name) }));
  const subjects =
    table === undefined ? undefined : (await assignSubjects(ids, table)).cases.map(({ subject }) => subject);

  const total = pairs.flat().length;
  const scored = pairs.map((): CaseMetrics[] => []);
  /** Looks at a case after the other, of so many in all. */
  const step = (name: string, done: number, all: number): void => {
    if (io.signal.aborted) throw new Aborted(`the evaluation was stopped after ${done} of ${all} cases`);
    if (io.isTerminal) io.status(`evaluating ${name} (${done + 1} of ${all})`);
  };
  for (const [at, { name, truth }] of pairs[0]!.entries()) {
    const a = await readNifti(truth);
    for (const [index, set] of pairs.entries()) {
      step(name, at * pairs.length + index, total);
      const { prediction } = set[at]!;
      const b = await readNifti(prediction);
      assertClasses(name, [a.data, b.data], options, names);
      const { tolerance, ignore } = options;
      const asked = { classes, tolerance, ignore, name };
      scored[index]!.push(await ofFiles([prediction, truth], () => evaluated(a, b, asked, regions)));
    }
  }
  const [cases] = scored as [CaseMetrics[]];
  const summary = summarise(cases, { subjects });
  const labelNames = scoredNames(names ?? [], regions);
  const comparison = options.also && compared(paths, scored, subjects);
  const best = comparison?.sets[0]!.path ?? predictions;
  const choice = options.postprocess
    ? await postprocessingFor(
        async (look) => {
          const set = pairs[paths.indexOf(best)]!;
          const found: ReturnType<typeof look>[] = [];
          for (const [at, { name, ...files }] of set.entries()) {
            step(name, at, set.length);
            const prediction = await readNifti(files.prediction);
            const truth = await readNifti(files.truth, { onto: prediction });
            found.push(look({ id: name, truth, prediction }));
          }
          return found;
        },
        { classes: typeof classes === 'number' ? classes : classes.length, ignore: options.ignore, regions },
      )
    : undefined;
  const metrics = metricsJson(cases, summary, { labels: labelNames, tolerance: options.tolerance });
  const json = withMore(metrics, {
    comparison: comparison?.sets,
    postprocessing: choice && { of: best, ...choice },
  });
  if (options.csv !== undefined) await writeFileAtomically(options.csv, metricsCsv(cases, labelNames));
  if (options.out !== undefined) await writeFileAtomically(options.out, json);
  if (options.json) return outText(io, json.trimEnd());
  for (const note of summary.notes) io.err(`note: ${note}`);
  io.out(`${summary.cases} case(s)`, '');
  io.out(...diceTable(summary, labelNames.map(printable)).trimEnd().split('\n'));
  if (comparison) io.out('', ...told(comparison, cases.length));
  if (choice) io.out('', ...cleaningTold(best, choice, labelNames));
}

/** Sets of predictions of the same cases, the best first. */
function compared(
  paths: readonly string[],
  scored: readonly (readonly CaseMetrics[])[],
  subjects: readonly string[] | undefined,
) {
  const { sets, rightlyEmpty } = compareDice(scored, subjects);
  const named = sets.map((set, at) => ({ path: paths[at]!, ...set }));
  return { sets: named.sort((a, b) => b.dice - a.dice), rightlyEmpty };
}

/** JSON with more in it, as far as there is more. */
const withMore = (json: string, more: Readonly<Record<string, unknown>>): string =>
  Object.values(more).every((value) => value === undefined)
    ? json
    : `${JSON.stringify({ ...(JSON.parse(json) as object), ...more }, null, 2)}\n`;

/** What keeping the largest component alone adds, and how predictions come to it. */
function cleaningTold(
  path: string,
  { largestComponent, before, after }: PostprocessingChoice,
  names: readonly string[],
): string[] {
  if (largestComponent.length === 0)
    return [`Post-processing: none; no mean Dice of ${path} rises with the largest component alone.`];
  const entries = JSON.stringify({ postprocessing: { largestComponent } });
  return [
    `Post-processing: in ${path}, the mean Dice of some rises with their largest component alone:`,
    ...largestComponent.map(
      (entry) =>
        `  ${printable(className(names, entry))}  ${digits(before[entry])} to ${digits(after[entry])}`,
    ),
    `Folds of train --folds are predicted with so where the ensemble.json beside them says ${entries}.`,
  ];
}

function told({ sets, rightlyEmpty }: ReturnType<typeof compared>, cases: number): string[] {
  const width = Math.max(...sets.map(({ path }) => path.length));
  const alike = sets.filter(({ less }) => less && !(less.low > 0)).map(({ path }) => path);
  const best = sets[0]!.path;
  return [
    'Mean foreground Dice:',
    ...sets.map(
      ({ path, dice, less }) =>
        `  ${printable(path).padEnd(width)}  ${digits(dice)}` +
        (less ? `, less by ${digits(less.mean)} (${digits(less.low)} to ${digits(less.high)})` : ''),
    ),
    ...(rightlyEmpty > 0
      ? [
          `In ${rightlyEmpty} case(s) some find a class that is not there: it counts as 1 for those that find none of it.`,
        ]
      : []),
    alike.length === 0
      ? `${best} is the best: the 95 % intervals of the differences do not reach 0.`
      : `${best} has the largest mean, but ${cases} case(s) do not tell it from ${listed(alike)}.`,
  ];
}

/** Of a data set's folder, or the file itself. */
const descriptionAt = async (path: string): Promise<string> =>
  (await isFolderAt(path)) ? join(path, 'dataset.json') : path;

interface NamedFile {
  readonly name: string;
  readonly source: string;
}

/** Predictions with their labels; what belongs to nothing on the other side is left out where that is asked for, else refused. */
function paired(
  io: Io,
  predictions: readonly NamedFile[],
  labels: readonly NamedFile[],
  { onlyPredicted = false, onlyLabelled = false }: Options,
): ReturnType<typeof pairCases<string>> {
  const [predicted, labelled] = [
    [predictions, labels],
    [labels, predictions],
  ].map(([these, others]) => among(others!, these!)) as [NamedFile[], NamedFile[]];
  if (onlyPredicted) io.err(`${predicted.length} of ${labels.length} labels compared`);
  if (onlyLabelled) io.err(`${labelled.length} of ${predictions.length} predictions compared`);
  try {
    return pairCases(onlyLabelled ? labelled : predictions, onlyPredicted ? predicted : labels);
  } catch (error) {
    if (!(error instanceof InvalidDataset) || predicted.length === 0) throw error;
    const remedies = [
      predicted.length < labels.length && !onlyPredicted
        ? ' --only-predicted leaves out labels without a prediction.'
        : '',
      labelled.length < predictions.length && !onlyLabelled
        ? ' --only-labelled leaves out predictions without a label.'
        : '',
    ];
    throw new InvalidDataset(error.message + remedies.join(''), { cause: error });
  }
}

/** Those of some files whose case is among others, too. */
function among(files: readonly NamedFile[], others: readonly NamedFile[]): NamedFile[] {
  const stems = (of: readonly NamedFile[]): string[] => of.map(({ name }) => stemOf(name));
  const there = sameCase(stems(files), stems(others));
  return files.filter((_, at) => there[at] !== undefined);
}

/** A file, or those of a folder and the folders below it, by the names of their cases. */
async function files(io: Io, path: string): Promise<NamedFile[]> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidDataset(`cannot read ${fileMessage(error)}`);
  });
  if (!info.isDirectory()) return [{ name: basename(path), source: path }];
  const found = await filesIn(path);
  for (const warning of found.warnings) io.err(`warning: ${warning}`);
  const entries = volumesAmong(found.files);
  if (entries.length === 0)
    throw new InvalidDataset(`${path} holds no NIfTI file; give a folder with .nii or .nii.gz files`);
  return labelsByCase(entries).map(({ name, files: [file] }) => ({ name, source: file!.source as string }));
}

/** @throws InvalidOption for a whole number that is beyond --names or --classes, as far as one of them is given */
function assertClasses(
  name: string,
  maps: readonly Float32Array[],
  { classes, dataset, ignore }: Options,
  names: readonly string[] | undefined,
): void {
  const given = names?.length ?? classes;
  if (given === undefined) return;
  const most = Math.max(...maps.map((map) => highestLabel(map, ignore)));
  if (most < given) return;
  const [option, remedy] = names
    ? dataset === undefined
      ? [`--names has ${given} names`, 'name all classes']
      : [`${dataset} names ${given} labels`, 'give the data set that the labels are of']
    : [`--classes is ${given}`, `raise it to ${most + 1}`];
  throw new InvalidOption(`${name} has the value ${most}, but ${option}, for 0 to ${given - 1}: ${remedy}`);
}

/** Classes as the files show them: the highest whole number plus 1, at least 2. */
async function highest(
  sources: readonly string[],
  ignore: number | undefined,
  signal: AbortSignal,
): Promise<number> {
  let most = 1;
  for (const source of sources) {
    if (signal.aborted)
      throw new Aborted('the evaluation was stopped while the highest label was looked for');
    most = Math.max(most, highestLabel((await readNifti(source)).data, ignore));
  }
  return most + 1;
}
