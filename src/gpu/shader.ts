/** Kernels as data: the typed view of the generated shader table, which holds no code (see wgsl.ts). */
import { shaders, type ShaderName } from '../generated/shaders.ts';
import type { Precision } from './precision.ts';

export type { ShaderName };
/** How the volumes that a kernel reads and writes are stored: see shaders/storage/. */
export type StorageFormat = Precision | 'packed16';
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
  /** Whether it reads or writes volumes, whose storage format its code then depends on. */
  readonly readsVolumes: boolean;
  /** Whether it runs on matrix units: its code then depends on how many threads a subgroup has. */
  readonly usesMatrices: boolean;
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

/** Numbers and switches that a kernel is specialised by. */
export type Constants = Readonly<Record<string, number | boolean>>;

/** The key under which a specialised pipeline is cached, and its label. */
export function variantLabel(info: ShaderInfo, constants: Constants, format: StorageFormat = 'f32'): string {
  const parts = Object.entries(constants).map(([name, value]) => `${name}=${value}`);
  if (format !== 'f32' && info.readsVolumes) parts.push(format);
  return parts.length ? `${info.name}[${parts.sort().join(',')}]` : info.name;
}
