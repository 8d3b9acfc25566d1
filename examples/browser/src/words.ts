/**
 * What went wrong, in words of this page: the library names the remedies of a program, the browser none, and here stand
 * those of a visitor.
 */

/** What a message says, or a part of it, and what this page says in its place; of errors of one name alone where that is given. */
const table: readonly (readonly [says: RegExp, words: string, name?: string])[] = [
  [/^(?:Failed to fetch|NetworkError when .*|Load failed)$/, 'the site does not answer: try again'],
  [
    /(?:A requested file or directory could not be found at|The requested file could not be read, typically due to).*/s,
    'it was moved, changed or deleted after it was given: give it again',
  ],
  [
    /^(?:this browser offers no WebGPU|WebGPU found no adapter).*/s,
    'this browser gives the page no GPU: "Explain" tells what to do',
  ],
  [
    /^.*$/s,
    'the GPU refused its work: reload the page, and update the graphics driver; "Explain" tests this GPU',
    'GpuError',
  ],
  [/: open a new one and resume from the last checkpoint;/, ';'],
  [
    /^(?:the worker that held the GPU is gone|the GPU device is lost) \((.*)\): .*/s,
    'the GPU was lost ($1): try again, it is opened anew',
  ],
  [
    /^.*: the GPU is out of memory \(.*\) with (.*) allocated: .*/s,
    'the GPU is out of memory, of which this page has $1: close what else uses it, or take smaller patches, a smaller batch or fewer features',
  ],
  [/raise memoryBudget$/, 'take a network with fewer features, or a GPU with more memory'],
  [
    /Or let training choose \(concessions: 'auto'\), or raise memoryBudget if/,
    'Or raise "GPU memory to use" under "Train" if',
  ],
  [
    /this package reads (\d+): update the package or start anew$/,
    'this page reads $1: reload it, or begin a new training',
  ],
  [/resume with the same options and data, or start in another folder$/, 'begin a new training'],
  [/start anew, or from another copy$/, 'begin a new training'],
  [/add --tune \(tune: true\)/, 'this page measures on GPUs alone'],
  [/: train with --matrix-units --tune first/, ''],
  [/, or train it on \(train --init, convertMonai\)/, ', or begin a training with it under "Train"'],
  [/ \(--ignore(?: 255)?, ignoreLabel\)/, ' under "Data"'],
  [
    /^No subjects\.csv and no pattern: (.*?)\. (.*)\.$/,
    'Nothing tells which cases show one person: $1. $2: add a table subjects.csv (columns case, subject) to the folder.',
  ],
  [/ \(option "image"\)/, ''],
  [
    /: raise it \(memoryBudget, --memory\)(?:, or store volumes .*)?$/,
    ', a share of what this GPU has: use the model on a GPU with more memory',
  ],
  [/, or choose by configuration: .* \(--configuration .*\)$/, ''],
  [/, which (?:\w+\.)?\w+(?: and (?:\w+\.)?\w+)? opens?$/, ': open its folder or zip archive under "Use"'],
  [
    /^(?:this page has no private file system|the private file system cannot be opened).*/s,
    'this browser keeps no files of this page, as in some private windows',
  ],
  [
    /^\S+ \S+ of (.*) does not fit the disk(.*): free disk space or .*/s,
    'its weights ($1) do not fit the disk$2: free disk space, or delete trainings under "Models"',
  ],
  [
    /^(this is no project of this page, or a damaged one): in project\.json.*/s,
    '$1: save it again in the browser that it comes from',
  ],
];

/** Texts that the console has been told. */
const reworded = new Set<string>();

/** What another has worded, for the visitor; the console keeps what it said. @param name of the error */
export function inPageWords(text: string, name = ''): string {
  let words = text;
  for (const [says, instead, only] of table)
    if (only === undefined || only === name) words = words.replace(says, instead);
  if (words !== text && !reworded.has(text)) console.info(text);
  reworded.add(text);
  return words;
}
