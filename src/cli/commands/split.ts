/** `split`: shows how a data set would be divided, and writes split.json. */
import { Command, Option } from 'commander';
import { foldCases, partNames, type Split, type SplitCase } from '../../data/split.ts';
import { writeFileAtomically } from '../../files/write.node.ts';
import {
  addDatasetOptions,
  addSplitOptions,
  datasetHelp,
  casesWithClasses,
  dataFiles,
  openFromArguments,
  splitOf,
  warnOfUnsplit,
  type DatasetArguments,
  type SplitArguments,
} from '../dataset-options.ts';
import { outText, type Io } from '../io.ts';
import { checkOutputs } from '../outputs.ts';
import * as parse from '../parse.ts';
import { table, toJson } from '../text.ts';

interface Options extends DatasetArguments, SplitArguments {
  readonly folds?: number;
  readonly out?: string;
  readonly json?: boolean;
}

export function splitCommand(io: Io): Command {
  const command = new Command('split').description(
    'Show the split of a data set into training, validation and test cases, by subject.',
  );
  return addSplitOptions(addDatasetOptions(command))
    .addOption(
      new Option('--folds <n>', 'show all n folds')
        .argParser(parse.wholeNumber(2))
        .conflicts(['fold', 'split']),
    )
    .option('--seed <n>', 'of the split', parse.wholeNumber(0), 0)
    .option(
      '--out <file>',
      "write split.json, for train --split, or with --folds nnU-Net's splits_final.json, for train --folds all --split",
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `${datasetHelp}

Examples:
  unet3d-gpu split data/hippocampus
  unet3d-gpu split data/pelvis --subject-pattern "Case_(\\d+)" --folds 5
  unet3d-gpu split data/hippocampus --split 80,10,10 --seed 7 --out split.json`,
    )
    .action(async (folder: string | undefined, options: Options) => {
      const dataset = await openFromArguments(io, folder, options);
      const { folds, seed } = options;
      if (options.out !== undefined) {
        const given = parse.isSplitFile(options.split ?? '') ? [options.split!] : [];
        const read = [...dataFiles(dataset, folder, options), ...given];
        await checkOutputs([{ option: '--out', paths: [options.out] }], read);
      }
      const cases = await casesWithClasses(io, dataset);
      const splits = folds ? foldCases(cases, { folds, seed }) : [await splitOf(cases, options)];
      if (!folds) warnOfUnsplit(io, cases, splits[0]!);
      const content = toJson(folds ? splits : splits[0], 2);
      const kept = folds ? toJson(splits.map(asFold), 2) : content;
      if (options.out !== undefined) await writeFileAtomically(options.out, `${kept}\n`);
      if (options.json) return outText(io, content);
      for (const split of splits) {
        if (folds) io.out('', `Fold ${split.fold! + 1} of ${folds}`);
        io.out(...show(split, cases, dataset.labels));
      }
    });
}

/** As nnU-Net's splits_final.json has it. */
const asFold = ({ train, validation }: Split) => ({ train: train.cases, val: validation.cases });

/** Parts with their subjects and cases, and the cases of each class that not every case shows. */
function show(split: Split, known: readonly SplitCase[], labels: readonly string[]): string[] {
  const classes = new Map(known.map((item) => [item.id, new Set(item.classes)]));
  const all = [...new Set(known.flatMap((item) => item.classes ?? []))].sort((a, b) => a - b);
  const rare = all.filter((value) => !known.every(({ id }) => classes.get(id)!.has(value)));
  const rows = partNames.map((part) => {
    const { cases, subjects } = split[part];
    const shown = subjects.slice(0, 4).join(', ') + (subjects.length > 4 ? ', ...' : '');
    const counts = rare.map((value) => String(cases.filter((id) => classes.get(id)!.has(value)).length));
    return [part, String(subjects.length), String(cases.length), ...counts, shown];
  });
  const names = rare.map((value) => `with ${labels[value] ?? value}`);
  return table([['part', 'subjects', 'cases', ...names, 'who'], ...rows]);
}
