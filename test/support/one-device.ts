/**
 * One GPU device for all that is opened in a process, a page or a worker of tests, so that each kernel is compiled once
 * there: SwiftShader takes a tenth of a second for one, and for some a second. Whoever asks for a device is given the
 * one that was opened with the same features and limits, and destroying it does nothing. What loses its device is
 * opened with one of its own.
 */
const devices = new Map<string, Promise<GPUDevice>>();
let alone = false;
let shares = false;

/** From now on, in this realm; where WebGPU has no global names, there is nothing to share. */
export function shareDevices(): void {
  if (shares || typeof GPUAdapter === 'undefined') return;
  shares = true;
  // As a method of the prototype it is called on each adapter.
  const request = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'requestDevice')!
    .value as GPUAdapter['requestDevice'];
  GPUAdapter.prototype.requestDevice = function (this: GPUAdapter, descriptor) {
    if (alone) return request.call(this, descriptor);
    const { requiredFeatures = [], requiredLimits = {} } = descriptor ?? {};
    const { description, architecture } = this.info;
    const key = JSON.stringify([description, architecture, [...requiredFeatures], requiredLimits]);
    const open = async () => {
      const device = await request.call(this, descriptor);
      device.destroy = () => undefined;
      void device.lost.then(() => devices.delete(key));
      return device;
    };
    const device = devices.get(key) ?? open();
    devices.set(key, device);
    return device;
  };
}

/** What `open` opens has devices of its own, which can be destroyed. */
export async function onDeviceOfItsOwn<T>(open: () => Promise<T>): Promise<T> {
  alone = true;
  try {
    return await open();
  } finally {
    alone = false;
  }
}
