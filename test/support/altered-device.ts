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

/**
 * Claims of a device that converts to float16 toward zero, as WGSL allows: what exceeds the largest number becomes that
 * one, and digits are cut off; infinity and NaN stay.
 */
export const towardZero = (device: GPUDevice) =>
  compiling(device, (code) => {
    if (!code.includes('fn toQuad')) return code;
    const cut = code
      .replace(/(?<=fn toQuad.*)vec4<f16>\((.*)\); }/, 'vec4<f16>(cutOff($1)); }')
      .replace(/\bpack2x16float\((\w+)\.(\w+)\)/g, 'pack2x16float(cutOff($1).$2)');
    return `${cut}
fn cutOff(value: vec4<f32>) -> vec4<f32> {
  let exponent = vec4<u32>(0x7f800000u);
  let bounded = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  let digits = bitcast<vec4<f32>>(bitcast<vec4<u32>>(bounded) & vec4<u32>(0xffffe000u));
  return select(digits, value, (bitcast<vec4<u32>>(value) & exponent) == exponent);
}`;
  });
