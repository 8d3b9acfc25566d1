/** jax-js on WebGPU: the training step of bench/peers.ts as one compiled function, and its convolutions. */
import {
  blockUntilReady,
  defaultDevice,
  init,
  jit,
  lax,
  nn,
  numpy as np,
  tree,
  valueAndGrad,
} from '@jax-js/jax';
import { offerWebGpu, readCase, readFloats, serve, timed, writeFloats } from './serve.mjs';

await offerWebGpu();
await init('webgpu');
defaultDevice('webgpu');

const array = (data, shape) => np.array(data, { shape });
const spatial = [0, 2, 3, 4];
const padding = [
  [1, 1],
  [1, 1],
  [1, 1],
];
const perChannel = (v) => v.reshape([1, -1, 1, 1, 1]);
const conv3 = (x, w) => lax.convGeneralDilated(x, w, [1, 1, 1], padding);

function block(w, prefix, x) {
  for (const i of [1, 2]) {
    x = conv3(x, w[`${prefix}.conv${i}.weight`]).add(perChannel(w[`${prefix}.conv${i}.bias`]));
    const centred = x.ref.sub(np.mean(x, spatial, { keepdims: true }));
    const variance = np.mean(np.square(centred.ref), spatial, { keepdims: true });
    const normalised = centred.div(np.sqrt(variance.add(1e-5)));
    const scaled = normalised.mul(perChannel(w[`${prefix}.norm${i}.weight`]));
    x = nn.relu(scaled.add(perChannel(w[`${prefix}.norm${i}.bias`])));
  }
  return x;
}

function pool(x) {
  const [n, c, z, y, width] = x.shape;
  return np.max(x.reshape([n, c, z / 2, 2, y / 2, 2, width / 2, 2]), [3, 5, 7]);
}

/**
 * Transposed convolution of size and stride 2 as a 1x1x1 convolution whose outputs are moved apart: the weight gradient
 * of lax.convTranspose comes out wrong for some shapes.
 */
function double(x, w) {
  const [inner, outer] = w.shape;
  const kernel = np.transpose(w.reshape([inner, outer * 8])).reshape([outer * 8, inner, 1, 1, 1]);
  const apart = lax.convGeneralDilated(x, kernel, [1, 1, 1], 'VALID');
  const [n, , z, y, width] = apart.shape;
  const moved = np.transpose(apart.reshape([n, outer, 2, 2, 2, z, y, width]), [0, 1, 5, 2, 6, 3, 7, 4]);
  return moved.reshape([n, outer, 2 * z, 2 * y, 2 * width]);
}

function loss(weights, image, oneHot) {
  const w = weights;
  const levels = Object.keys(w).filter((name) => /^encoder\.\d+\.conv1\.weight$/.test(name)).length;
  const skips = [];
  let x = image;
  for (let level = 0; level < levels; level++) {
    x = block(w, `encoder.${level}`, level ? pool(x) : x);
    if (level < levels - 1) skips.push(x.ref);
  }
  for (let level = levels - 2; level >= 0; level--) {
    const up = double(x, w[`decoder.${level}.up.weight`]).add(perChannel(w[`decoder.${level}.up.bias`]));
    x = block(w, `decoder.${level}`, np.concatenate([skips[level], up], 1));
  }
  const logits = lax
    .convGeneralDilated(x, w['head.weight'], [1, 1, 1], 'VALID')
    .add(perChannel(w['head.bias']));
  const p = nn.softmax(logits, 1);
  const axes = [2, 3, 4];
  const overlap = np.sum(p.ref.mul(oneHot.ref), axes).mul(2).add(1e-5);
  const dice = overlap.div(np.sum(p, axes).add(np.sum(oneHot, axes)).add(1e-5));
  const shares = np.array([1, 2, 3, 4, 5, 6].map((c) => c / 21)).reshape([1, 6]);
  return np.sum(np.mean(np.subtract(1, dice), 0, { keepdims: true }).mul(shares));
}

/** Adam with the bias corrections of its first step. */
function update({ weights, first, second }, image, oneHot) {
  const [value, gradients] = valueAndGrad(loss)(tree.ref(weights), image, oneHot);
  const next = { weights: {}, first: {}, second: {} };
  for (const [name, g] of Object.entries(gradients)) {
    const m = first[name].mul(0.9).add(g.ref.mul(0.1));
    const v = second[name].mul(0.999).add(np.square(g).mul(0.001));
    next.first[name] = m.ref;
    next.second[name] = v.ref;
    const moved = m.div(0.1).div(np.sqrt(v.div(0.001)).add(1e-8));
    next.weights[name] = weights[name].sub(moved.mul(1e-3));
  }
  return [value, next];
}

let state;
let compiled;
let inputs;
let convs;

serve({
  version: () => ({ version: 'jax-js 0.1.25, webgpu' }),
  async prepare({ folder }) {
    if (state) tree.dispose(state);
    const { batch, size, classes, weights, image, oneHot } = readCase(folder);
    const [x, y, z] = size;
    inputs = [array(image, [batch, 1, z, y, x]), array(oneHot, [batch, classes, z, y, x])];
    const named = (make) => Object.fromEntries(weights.map((w) => [w.name, make(w)]));
    state = {
      weights: named((w) => array(w.data, w.shape)),
      first: named((w) => np.zeros(w.shape)),
      second: named((w) => np.zeros(w.shape)),
    };
    compiled = jit(update);
    const started = performance.now();
    const [value, next] = compiled(state, inputs[0].ref, inputs[1].ref);
    state = next;
    const found = (await value.data())[0];
    await blockUntilReady(Object.values(state.weights).map((v) => v.ref));
    const firstMs = performance.now() - started;
    // After the first step Adam's first moment is a tenth of the gradient.
    const gradients = [];
    for (const { name } of weights) gradients.push((await state.first[name].ref.data()).map((v) => v * 10));
    writeFloats(folder, 'jax', gradients);
    return { loss: found, firstMs };
  },
  async step() {
    const ms = await timed(async () => {
      const [value, next] = compiled(state, inputs[0].ref, inputs[1].ref);
      state = next;
      await value.data();
      await blockUntilReady(state.weights['head.bias'].ref);
    });
    return { ms };
  },
  async prepareConv({ folder, channels, size, batch }) {
    const shape = [batch, channels, ...[...size].reverse()];
    const swap = [1, 0, 2, 3, 4];
    const [x, dy] = ['x', 'dy'].map((name) => array(readFloats(folder, name), shape));
    const w = array(readFloats(folder, 'w'), [channels, channels, 3, 3, 3]);
    const turned = np.transpose(np.flip(w.ref, [2, 3, 4]), swap);
    const weightGradient = (a, b) =>
      np.transpose(
        lax.convGeneralDilated(np.transpose(a, swap), np.transpose(b, swap), [1, 1, 1], padding),
        swap,
      );
    const [forward, dx, dw] = [jit(conv3), jit(conv3), jit(weightGradient)];
    convs = {
      forward: () => forward(x.ref, w.ref),
      'data gradient': () => dx(dy.ref, turned.ref),
      'weight gradient': () => dw(x.ref, dy.ref),
    };
    for (const [name, work] of Object.entries(convs))
      writeFloats(folder, `jax-${name}`, [await work().data()]);
  },
  async conv({ kind }) {
    return {
      ms: await timed(async () => {
        const result = convs[kind]();
        await result.ref.blockUntilReady();
        result.dispose();
      }),
    };
  },
});
