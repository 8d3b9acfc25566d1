import { UNet3D, fromArrays, phantoms } from 'unet3d-gpu/worker';

const button = document.getElementById('train');
const log = document.getElementById('log');

button.onclick = async () => {
  button.disabled = true;
  try {
    await train();
  } catch (error) {
    log.append(`${error.name}: ${error.message}\n`);
  }
  button.disabled = false;
};

async function train() {
  const shape = [8, 8, 8];
  const cases = phantoms(4, { shape }).map(({ image, labels, affine }, subject) => {
    const grid = { dims: shape, affine };
    return fromArrays(`phantom ${subject}`, { data: image, ...grid }, { data: labels, ...grid });
  });
  const model = await UNet3D.create({
    inChannels: 1,
    classes: 6,
    features: [4, 8],
    norm: 'instance',
    seed: 1,
  });
  log.append(`${model.adapter}\n`);
  const run = model.fit(cases.slice(0, 3), { epochs: 3, validation: cases.slice(3) });
  for await (const event of run)
    if (event.type === 'epoch') log.append(`epoch ${event.row.epoch}: loss ${event.row.loss.toFixed(4)}\n`);
  log.append('trained\n');
  model.dispose();
}
