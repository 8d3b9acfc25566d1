/** The code of kernels; loaded when the first one is compiled, so that a page that only plans goes without. */
import { storages, wgsl } from '../generated/wgsl.ts';
import { GpuError } from '../errors.ts';
import type { Constants, ShaderInfo, StorageFormat } from './shader.ts';

/** Threads of a subgroup, and whether a device that has several sizes is asked for this one. */
export interface Subgroup {
  readonly size: number;
  readonly controlled: boolean;
}

/** The WGSL of a kernel for a storage format, with constants replaced by name; an unknown name is an error. */
export function specialise(
  info: ShaderInfo,
  constants: Constants,
  format: StorageFormat = 'f32',
  subgroup?: Subgroup,
): string {
  let code = wgsl[info.name]!;
  if (subgroup) {
    constants = { ...constants, SUBGROUP: subgroup.size };
    if (subgroup.controlled)
      code = `enable subgroup_size_control;\n${code.replace('@compute', '@compute @subgroup_size(SUBGROUP)')}`;
  }
  for (const [name, value] of Object.entries(constants)) {
    if (!(name in info.constants)) {
      throw new GpuError(
        `shader ${info.name} has no constant ${name}; it has ${Object.keys(info.constants).join(', ') || 'none'}`,
      );
    }
    code = code.replace(
      new RegExp(`^const ${name}\\b([^=]*)=[^;]+;`, 'm'),
      (_, type: string) => `const ${name}${type}= ${literal(value, type)};`,
    );
  }
  if (!info.readsVolumes) return code;
  const enables = /^(?:enable \w+;\n)*/.exec(code)![0]; // before all declarations
  return `${enables}${storages[format]}\n${code.slice(enables.length)}`;
}

function literal(value: number | boolean, type: string): string {
  if (typeof value === 'boolean') return String(value);
  if (type.includes('u32')) return `${value}u`;
  if (type.includes('f32')) return Number.isInteger(value) ? `${value}.0` : String(value);
  return String(value);
}
