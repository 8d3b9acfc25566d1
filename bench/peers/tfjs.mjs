/** TF.js on WebGPU: convolutions and their gradients. It cannot train the network: see bench/NOTES.md. */
import { offerWebGpu, readFloats, serve, timed, writeFloats } from './serve.mjs';

await offerWebGpu();
const tf = await import('@tensorflow/tfjs-core');
await import('@tensorflow/tfjs-backend-webgpu');
await tf.setBackend('webgpu');
await tf.ready();

let convs;

serve({
  version: () => ({ version: `TF.js ${tf.version_core}, webgpu` }),
  async prepareConv({ folder, channels, size, batch }) {
    const shape = [batch, channels, ...[...size].reverse()];
    const last = (name) =>
      tf.tidy(() => tf.transpose(tf.tensor(readFloats(folder, name), shape), [0, 2, 3, 4, 1]));
    const [x, dy] = [last('x'), last('dy')];
    const filterShape = [3, 3, 3, channels, channels];
    const w = tf.tidy(() =>
      tf.transpose(tf.tensor(readFloats(folder, 'w'), [channels, channels, 3, 3, 3]), [2, 3, 4, 1, 0]),
    );
    const how = { strides: [1, 1, 1], pad: 'same' };
    const run = (kernel, inputs, attributes) => tf.engine().runKernel(kernel, inputs, attributes);
    convs = {
      forward: () => run('Conv3D', { x, filter: w }, { ...how, dataFormat: 'NDHWC', dilations: [1, 1, 1] }),
      'data gradient': () => run('Conv3DBackpropInputV2', { dy, filter: w }, { ...how, inputShape: x.shape }),
      'weight gradient': () => run('Conv3DBackpropFilterV2', { x, dy }, { ...how, filterShape }),
    };
    for (const [name, work] of Object.entries(convs)) {
      const result = work();
      const order = name === 'weight gradient' ? [4, 3, 0, 1, 2] : [0, 4, 1, 2, 3];
      writeFloats(folder, `tfjs-${name}`, [await tf.transpose(result, order).data()]);
      result.dispose();
    }
  },
  async conv({ kind }) {
    return {
      ms: await timed(async () => {
        // Reading one value back is what makes it run, and waits for it.
        const result = convs[kind]();
        const one = tf.tidy(() => tf.slice(tf.reshape(result, [-1]), [0], [1]));
        await one.data();
        tf.dispose([result, one]);
      }),
    };
  },
});
