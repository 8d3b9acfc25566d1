/** A device that differs from a real one in what it says of itself, or in the code that it compiles. */

/** @param claims properties in place of the device's own */
export function alteredDevice(device: GPUDevice, claims: Readonly<Record<PropertyKey, unknown>>): GPUDevice {
  return new Proxy(device, {
    get(_, property) {
      if (property in claims) return claims[property];
      const value: unknown = Reflect.get(device, property, device);
      return typeof value === 'function' ? (value.bind(device) as unknown) : value;
    },
    set: (_, property, value) => Reflect.set(device, property, value, device),
  });
}

/** Claims of a device that compiles what is made of the code of a kernel. */
export const compiling = (device: GPUDevice, change: (code: string, label: string) => string) => ({
  createShaderModule: ({ code, label = '', ...rest }: GPUShaderModuleDescriptor) =>
    device.createShaderModule({ ...rest, label, code: change(code, label) }),
});
