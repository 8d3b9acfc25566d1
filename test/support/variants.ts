/** All kernels with all constants that plans use, of every table and every kind of network in one place. */
import { shaders } from '../../src/generated/shaders.ts';
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import { kernelsOf } from '../../src/gpu/passes.ts';
import { defaultLimits, type Plan } from '../../src/gpu/plan.ts';
import {
  shaderInfo,
  variantLabel,
  type Constants,
  type ShaderName,
  type StorageFormat,
} from '../../src/gpu/shader.ts';
import { specialise } from '../../src/gpu/wgsl.ts';
import {
  adam,
  adamW,
  completeConfig,
  lossShape,
  nnunetLoss,
  nnunetRegionLoss,
  paddedSize,
  planEvaluation,
  planInference,
  planTraining,
  sgd,
  weightedDice,
  type Loss,
  type Size3,
  type UNet3DConfig,
} from '../../src/node.ts';
import { network as topology } from '../../src/model/network.ts';
import { planSlabs } from '../../src/model/plan.ts';
import { candidates } from '../../src/model/policy.ts';
import type { PlanShape, TrainingShape } from '../../src/model/plan-shape.ts';
import { OpBench } from '../../src/self-test/bench.ts';
import { opCases } from '../../src/self-test/kernels.ts';

/** A network of these features, else of one channel and two classes. */
const network = (features: readonly number[], entries: Partial<UNet3DConfig> = {}): UNet3DConfig =>
  completeConfig({ inChannels: 1, classes: 2, features, ...entries });

/** One number along an axis, another along the others. */
const along = (axis: number, here: number, elsewhere: number): Size3 =>
  [0, 1, 2].map((other) => (other === axis ? here : elsewhere)) as unknown as Size3;
const every = (n: number): Size3 => [n, n, n];
const axes = [0, 1, 2];

/** Of cubic kernels and strides. */
const plain = network([8, 16, 32]);
const supervised = network([4, 8, 16, 32], {
  inChannels: 3,
  classes: 3,
  block: 'residual',
  deepSupervision: true,
});
const cubic = [
  plain,
  network([16, 32], {
    inChannels: 2,
    classes: 6,
    norm: 'instance',
    activation: 'leakyRelu',
    down: 'conv',
  }),
  supervised,
];

/** As nnU-Net plans networks where slices are thick along an axis: kernels and strides of 1 there at first. */
const nnunet = axes.flatMap((axis) =>
  (['plain', 'residual'] as const).map((block) =>
    network([4, 8, 16, 32, 32], {
      classes: 3,
      norm: 'instance',
      activation: 'leakyRelu',
      down: 'conv',
      block,
      kernels: [along(axis, 1, 3), along(axis, 1, 3), every(3), every(3), every(3)],
      strides: [along(axis, 1, 2), every(2), along(axis, 1, 2), along(axis, 2, 1)],
      deepSupervision: true,
      heads: 4,
    }),
  ),
);

/** Of max-pooling, and of MONAI's DynUNet. */
const strided = [
  ...axes.map((axis) => network([4, 8, 16], { strides: [along(axis, 1, 2), along(axis, 2, 1)] })),
  network([4, 8, 16], {
    norm: 'instance',
    block: 'residual',
    stem: false,
    shortcut: 'conv',
    bias: false,
    scaleAndShift: false,
    strides: [along(2, 1, 2), every(2)],
  }),
];

/** MONAI's BasicUNet, UNet with and without residual units, and SegResNet. */
const monai = [
  network([8, 8, 16, 32], {
    norm: 'instance',
    activation: 'leakyRelu',
    slope: 0.1,
    upFeatures: [8, 4, 8],
    oddSizes: 'repeat',
  }),
  ...[0, 2].flatMap((units) =>
    (['instance', 'batch'] as const).map((norm) =>
      network([4, 8, 16, 32], {
        architecture: 'residualUnits',
        norm,
        activation: 'prelu',
        scaleAndShift: norm === 'batch',
        units,
        strides: [every(2), along(2, 1, 2), every(1)],
      }),
    ),
  ),
  network([8, 16, 32], {
    architecture: 'segResNet',
    classes: 3,
    norm: 'group',
    encoderBlocks: [1, 2, 2],
    decoderBlocks: [1, 1],
  }),
];

const regions = [
  { labels: [1, 2], written: 1 },
  { labels: [2], written: 2 },
];

/** What networks are planned for: widths that end rows at the end of a quad at all but the deepest levels, and others. */
const shapesOf = (config: UNet3DConfig): PlanShape[] => {
  const sizes: Size3[] = [
    [32, 32, 16],
    [20, 20, 8],
  ];
  return sizes.map((size) => ({ config, size: paddedSize(config, size), batch: 2 }));
};

const lossOf = (config: UNet3DConfig): Loss =>
  config.norm === 'instance' ? nnunetLoss(config.classes) : weightedDice();

const training = ({ config, ...rest }: PlanShape & Partial<TrainingShape>): Plan => {
  const loss = lossShape(lossOf(config), config.classes);
  return planTraining({ config, loss, optimizer: adam(), ...rest }).plan;
};

/** Evaluation and inference of a network. */
function* forwardPlans(shape: PlanShape): Generator<Plan> {
  const { config } = shape;
  yield planEvaluation({ ...shape, loss: lossShape(lossOf(config), config.classes) }).plan;
  yield planInference(shape).plan;
  if (config.architecture !== 'residualUnits') yield planSlabs(shape, 'features').plan;
}

/** The ways in which a training may differ, on one network. */
function* trainings(limits: PlanShape['limits']): Generator<Plan> {
  for (const config of [plain, supervised]) {
    const shape = { ...shapesOf(config)[0]!, limits };
    yield training({ ...shape, augment: true, margin: [4, 2, 2], averaging: true, accumulate: 2 });
    yield training({ ...shape, precision: 'f16' });
    yield training({ ...shape, keepAll: true });
    yield training({ ...shape, checkpointing: candidates(topology(config, shape).graph) });
    yield training({ ...shape, freeze: 'encoder' });
    yield training({ ...shape, coarserTruth: 'first' });
    for (const optimizer of [adamW(), sgd(), sgd({ nesterov: false })])
      yield training({ ...shape, optimizer });
    for (const batch of [false, true])
      for (const classes of [2, 3, 6]) {
        const own = { ...shape, config: { ...config, classes } };
        const losses = [weightedDice(undefined, { batch }), nnunetLoss(classes, { batch })];
        if (classes === 2) losses.push(nnunetRegionLoss(regions, { batch }));
        for (const loss of losses.map((loss) => lossShape(loss, classes))) {
          yield training({ ...own, loss });
          yield planEvaluation({ ...own, loss }).plan;
        }
      }
  }
}

/** All but the kernels of the usual walk is in these as in the tables of other adapters. */
const { hardware, swiftshader, lavapipe } = kernelChoices;
const tables = [hardware, swiftshader];

/** Other kernels of the usual walk. */
const others: readonly KernelChoices[] = [
  lavapipe,
  { ...lavapipe, lanes: 16 },
  ...kernelsOf({ kind: 'forward', precision: 'f32' })
    .filter((name) => name !== 'subgroup')
    .map((conv3) => ({ ...hardware, conv3 }) as KernelChoices),
  ...kernelsOf({ kind: 'weights', precision: 'f32' }).map(
    (conv3Weights) => ({ ...hardware, conv3Weights }) as KernelChoices,
  ),
];

function* plans(): Generator<Pick<Plan, 'dispatches'>> {
  const of = (kernels: KernelChoices) => ({ ...defaultLimits, kernels });
  const networks = [...cubic, ...nnunet, ...strided, ...monai].flatMap(shapesOf);
  for (const kernels of [...tables, ...others])
    for (const op of opCases) yield new OpBench(op, of(kernels)).recorder;
  for (const kernels of tables)
    for (const shape of networks) yield training({ ...shape, limits: of(kernels) });
  for (const kernels of others)
    for (const shape of cubic.flatMap(shapesOf)) {
      yield training({ ...shape, limits: of(kernels) });
      yield planInference({ ...shape, limits: of(kernels) }).plan; // where convolutions leave no statistics
    }
  for (const shape of networks) yield* forwardPlans({ ...shape, limits: of(hardware) });
  yield* trainings(of(hardware));
}

/** Not among them: naga does not know matrix units nor subgroups, and devices without them do not run these. */
const isUnknown = (shader: ShaderName): boolean =>
  shader.startsWith('conv_matrix/') || shader === 'conv3/forward_subgroup';

/** Kernels of all plans, each with its constants, and the one that measures how fast a device is. */
function variants(): Map<string, readonly [ShaderName, Constants]> {
  const found = new Map<string, readonly [ShaderName, Constants]>();
  const add = (shader: ShaderName, constants: Constants): void =>
    void found.set(variantLabel(shaderInfo(shader), constants), [shader, constants]);
  for (const { dispatches } of plans())
    for (const { shader, constants } of dispatches) add(shader, constants);
  add('probe/multiply_add', {});
  const used = new Set([...found.values()].map(([shader]) => shader));
  const missing = (Object.keys(shaders) as ShaderName[]).filter(
    (shader) => !used.has(shader) && !isUnknown(shader),
  );
  if (missing.length > 0) throw new Error(`no plan here uses ${missing.join(', ')}`);
  return found;
}

/** The WGSL of each in each of these formats, by a name that says what it is. */
export function* kernelCode(formats: readonly StorageFormat[]): Generator<[name: string, code: string]> {
  for (const [name, [shader, constants]] of variants()) {
    const info = shaderInfo(shader);
    for (const format of info.readsVolumes ? formats : (['f32'] as const))
      yield [`${name} in ${format}`, specialise(info, constants, format)];
  }
}
