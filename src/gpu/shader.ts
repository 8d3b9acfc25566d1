/**
 * Kernels as data: the typed view of the generated shader table, and specialisation of a kernel's
 * named constants.
 */
import { shaders, storages } from '../generated/shaders.ts';
import { GpuError } from '../errors.ts';

export type ShaderName = keyof typeof shaders;
/** How the volumes that a kernel reads and writes are stored: see shaders/storage/. */
export type StorageFormat = keyof typeof storages;
type Shader<N extends ShaderName> = (typeof shaders)[N];
type Bindings<N extends ShaderName> = Exclude<Shader<N>['bindings'][number], { type: 'uniform' }>['name'];

/** Names of the storage bindings of a kernel. */
export type BindingName<N extends ShaderName> = Bindings<N>;
/** Fields of a kernel's Params struct. */
export type ParamName<N extends ShaderName> = keyof Shader<N>['params'];
/** Named constants of a kernel that may be replaced. */
export type ConstantName<N extends ShaderName> = keyof Shader<N>['constants'];

/** A shader's description, with the literal types forgotten. */
export interface ShaderInfo {
  readonly name: string;
  readonly code: string;
  readonly bindings: readonly {
    readonly name: string;
    readonly binding: number;
    readonly type: 'read-only-storage' | 'storage' | 'uniform';
  }[];
  readonly params: Readonly<Record<string, { readonly offset: number; readonly type: string }>>;
  readonly constants: Readonly<Record<string, string>>;
}

export function shaderInfo(name: ShaderName): ShaderInfo {
  return shaders[name];
}

const written = new Map<ShaderName, ReadonlySet<string>>();

/** Names of the bindings that a kernel writes. */
export function writtenBindings(name: ShaderName): ReadonlySet<string> {
  let names = written.get(name);
  if (!names) {
    names = new Set(
      shaderInfo(name)
        .bindings.filter(({ type }) => type === 'storage')
        .map(({ name }) => name),
    );
    written.set(name, names);
  }
  return names;
}

export type Constants = Readonly<Record<string, number | boolean>>;

/** The WGSL of a kernel for a storage format, with constants replaced by name; an unknown name is an error. */
export function specialise(info: ShaderInfo, constants: Constants, format: StorageFormat = 'f32'): string {
  let code = info.code;
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
  return readsVolumes(info) ? `${storages[format]}\n${code}` : code;
}

const readsVolumes = ({ code }: ShaderInfo): boolean => /\bQuad\b/.test(code);

function literal(value: number | boolean, type: string): string {
  if (typeof value === 'boolean') return String(value);
  if (type.includes('u32')) return `${value}u`;
  if (type.includes('f32')) return Number.isInteger(value) ? `${value}.0` : String(value);
  return String(value);
}

/** The key under which a specialised pipeline is cached, and its label. */
export function variantLabel(info: ShaderInfo, constants: Constants, format: StorageFormat = 'f32'): string {
  const parts = Object.entries(constants).map(([name, value]) => `${name}=${value}`);
  if (format !== 'f32' && readsVolumes(info)) parts.push(format);
  return parts.length ? `${info.name}[${parts.sort().join(',')}]` : info.name;
}
