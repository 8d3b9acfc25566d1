/** Makes the first GPU device of a worker be destroyed, right after the first checkpoint of its training. */
const devices: GPUDevice[] = [];
const request = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'requestDevice')
  ?.value as GPUAdapter['requestDevice'];
GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor) {
  const device = await request.call(this, descriptor);
  devices.push(device);
  return device;
};

type Post = (message: { type: string; event?: { type: string } }, transfer: Transferable[]) => void;
const scope = globalThis as unknown as { postMessage: Post };
const post: Post = scope.postMessage.bind(scope);
scope.postMessage = (message, transfer) => {
  post(message, transfer);
  if (devices.length === 1 && message.event?.type === 'checkpoint') devices[0]?.destroy();
};

export {};
