/** What is measured on the day, in order of worth. */

/** Sizes of the work: those of the day, and small ones to rehearse it on a program on the CPU. */
export interface Scale {
  /** Options of a step at the study's size, and of a smaller one that float64 is affordable for. */
  readonly study: readonly string[];
  readonly small: readonly string[];
  /** Of the smaller one. */
  readonly steps: string;
  readonly levels: string;
  readonly windows: readonly string[];
  readonly demo: readonly string[];
  readonly hippocampus: readonly string[];
  readonly two: readonly string[];
  readonly memory: readonly string[];
  readonly kernels: readonly string[];
  readonly adapter: readonly string[];
  /** Seconds that measuring kernels may take: in float32, in float16, with matrix units in float16 and in float32. */
  readonly tune: string;
  readonly tuneF16: string;
  readonly tuneF16Matrix: string;
  readonly tuneMatrix: string;
  /** How much longer parts may take than `seconds` says. */
  readonly patience: number;
}

const step = (size: string, features: string) => ['--size', size, '--features', features, '--batch', '2'];

export const day: Scale = {
  study: step('256,256,128', '16,32,64,128'),
  small: step('64,64,32', '16,32,64,128'),
  steps: '20',
  levels: '16:256,256,64;32:128,128,64;64:64,64,32;128:32,32,16',
  windows: [],
  demo: [],
  hippocampus: ['--epochs', '20'],
  two: ['--epochs', '1', '--limit-cases', '30'],
  memory: [],
  kernels: [],
  adapter: ['--hardware'],
  tune: '35',
  tuneF16: '10',
  tuneF16Matrix: '20',
  tuneMatrix: '10',
  patience: 1,
};

export const rehearsal: Scale = {
  study: [...step('24,24,16', '4,8'), '--steps', '4'],
  small: step('16,16,16', '4,8'),
  steps: '4',
  levels: '4:16,16,8;8:8,8,8',
  windows: ['--whole', '24,24,16', '--file', '40,40,20', '--window', '24,24,16', '--features', '4,8'],
  demo: ['--subjects', '8', '--epochs', '1', '--features', '4,8'],
  hippocampus: ['--epochs', '1', '--limit-cases', '8', '--features', '4,8', '--steps-per-epoch', '2'],
  two: ['--epochs', '1', '--limit-cases', '4', '--features', '4,8', '--steps-per-epoch', '1'],
  memory: ['--most', `${2 ** 28}`],
  kernels: ['--most', '8'],
  adapter: [],
  tune: '5',
  tuneF16: '0',
  // A program on the CPU compiles matrix kernels for minutes.
  tuneF16Matrix: '0',
  tuneMatrix: '0',
  patience: 8,
};

export interface Part {
  readonly name: string;
  /** Seconds after which it is ended; what it has told by then is kept. */
  readonly seconds: number;
  /** Runs without Vulkan, on CUDA. */
  readonly cuda?: boolean;
  /** A part without which it is left out, where that one failed. */
  readonly needs?: string;
  /** Script, of bench/gpu-day/ or dist/cli.js, and its arguments. */
  readonly command: readonly string[];
}

/** @param folder for what parts exchange */
export function partsOf(scale: Scale, folder: string): readonly Part[] {
  const small = ['--folder', `${folder}/small`, ...scale.small];
  const study = ['--folder', `${folder}/study`, ...scale.study];
  const torch = (mode: string): readonly string[] => ['torch', '--mode', mode];
  const tune = ['--tune', scale.tune];
  const f16 = ['--precision', 'f16'];
  // Measuring kernels first would take most of their time.
  const train = ['train', '.gpu/data/hippocampus', '--no-tune'];
  const convs = ['--convs', scale.levels];
  return [
    // Which kernels are right.
    { name: 'adapter', seconds: 15, command: ['adapter', ...scale.adapter] },
    { name: 'kernels', seconds: 40, command: ['kernels', ...scale.kernels] },
    // Twenty steps beside PyTorch, and both beside float64.
    { name: 'losses', seconds: 20, command: ['step', ...small, '--steps', scale.steps, '--for', '60'] },
    {
      name: 'losses-torch',
      seconds: 25,
      cuda: true,
      command: [...torch('cuda'), ...small, '--steps', scale.steps],
    },
    {
      name: 'losses-f64',
      seconds: 20,
      cuda: true,
      command: [...torch('cuda-f64'), ...small, '--steps', scale.steps],
    },
    // The study's step, ours and cuDNN's.
    { name: 'step-f32', seconds: 70, command: ['step', ...study, ...tune] },
    { name: 'step-torch', seconds: 40, cuda: true, command: [...torch('cuda'), ...study] },
    { name: 'step-f16', seconds: 45, command: ['step', ...study, ...f16, '--tune', scale.tuneF16] },
    // A driver that breaks over matrix units does so here.
    { name: 'matrix', seconds: 10, command: ['kernels', '--matrix', '--most', '1'] },
    {
      name: 'kernels-matrix',
      seconds: 30,
      needs: 'matrix',
      command: ['kernels', '--matrix', ...scale.kernels],
    },
    {
      name: 'step-f16-matrix',
      seconds: 55,
      needs: 'matrix',
      command: ['step', ...study, ...f16, '--matrix', '--tune', scale.tuneF16Matrix],
    },
    { name: 'step-torch-amp', seconds: 30, cuda: true, command: [...torch('cuda-amp'), ...study] },
    { name: 'step-torch-tf32', seconds: 25, cuda: true, command: [...torch('cuda-tf32'), ...study] },
    {
      name: 'demo',
      seconds: 35,
      command: ['dist/cli.js', 'demo', '--json', '--out', `${folder}/demo`, ...scale.demo],
    },
    // Each level by itself.
    { name: 'convs-f32', seconds: 40, command: ['convs', ...convs] },
    { name: 'convs-torch', seconds: 20, cuda: true, command: [...torch('cuda'), ...convs] },
    {
      name: 'hippocampus',
      seconds: 55,
      command: [
        ...['dist/cli.js', ...train, '--folds', '0', '--json'],
        ...['--out', `${folder}/hippocampus`, ...scale.hippocampus],
      ],
    },
    { name: 'windows', seconds: 25, command: ['windows', ...scale.windows] },
    {
      name: 'step-f32-matrix',
      seconds: 30,
      needs: 'matrix',
      command: ['step', ...study, '--matrix', '--tune', scale.tuneMatrix],
    },
    { name: 'convs-f16', seconds: 25, needs: 'matrix', command: ['convs', ...convs, ...f16, '--matrix'] },
    {
      name: 'step-torch-channels-last',
      seconds: 20,
      cuda: true,
      command: [...torch('cuda-channels-last'), ...study],
    },
    {
      name: 'step-torch-amp-channels-last',
      seconds: 20,
      cuda: true,
      command: [...torch('cuda-amp-channels-last'), ...study],
    },
    { name: 'two', seconds: 30, command: ['two', `${folder}/two`, ...train, ...scale.two] },
    { name: 'memory', seconds: 15, command: ['memory', ...scale.memory] },
  ];
}

/** Seconds of a machine's start and of transfers, which count as device time. */
export const startSeconds = 100;
/** Of the two calls. */
export const callSeconds = { first: 430, second: 290 };
