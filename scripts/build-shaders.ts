/**
 * Reads shaders/**\/*.wgsl and writes src/generated/: in wgsl.ts the code with its includes expanded, in shaders.ts
 * typed descriptors of bindings, Params fields and named constants taken from the WGSL itself, so that the
 * TypeScript that dispatches a kernel cannot drift from it. They are apart because plans need no code.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const shaderRoot = join(root, 'shaders');

/** Expands `// include "path"` lines, relative to shaders/; each file at most once. */
function expand(file: string, seen = new Set<string>()): string {
  if (seen.has(file)) return '';
  seen.add(file);
  return readFileSync(file, 'utf8').replace(/^\/\/ include "([^"]+)"$/gm, (_, path: string) =>
    expand(join(shaderRoot, path), seen),
  );
}

/** Without comments, blank lines and spaces that the package need not carry. */
function strip(code: string): string {
  return code
    .replace(/\/\/.*$/gm, '')
    .replace(/(?<=[\w)\]]) ([-+*/%]) (?=[\w(])/g, '$1')
    .replace(/^[ \t]+|[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
    .trim();
}

interface Binding {
  name: string;
  binding: number;
  type: 'read-only-storage' | 'storage' | 'uniform';
}

function describe(file: string) {
  const name = relative(shaderRoot, file)
    .split(sep)
    .join('/')
    .replace(/\.wgsl$/, '');
  const whole = strip(expand(file));
  // Extensions come before everything else, wherever a file that needs one is included.
  const enables = [...new Set(whole.match(/^enable \w+;$/gm))];
  const code = strip([...enables, whole.replace(/^enable \w+;$/gm, '')].join('\n'));
  const bindings: Binding[] = [];
  for (const match of code.matchAll(/@group\(0\) @binding\((\d+)\) var<([^>]+)> (\w+)\s*:/g)) {
    const space = match[2]!.replaceAll(' ', '');
    const type = space === 'uniform' ? 'uniform' : space === 'storage,read' ? 'read-only-storage' : 'storage';
    if (type === 'storage' && space !== 'storage,read_write')
      throw new Error(`${name}: odd address space ${space}`);
    bindings.push({ name: match[3]!, binding: Number(match[1]), type });
  }
  const params: Record<string, { offset: number; type: string }> = {};
  const struct = /struct Params \{([^}]*)\}/.exec(code)?.[1];
  if (struct) {
    let offset = 0;
    for (const field of struct.matchAll(/(\w+)\s*:\s*(\w+)/g)) {
      if (!['u32', 'i32', 'f32'].includes(field[2]!))
        throw new Error(`${name}: Params.${field[1]} must be a scalar`);
      params[field[1]!] = { offset, type: field[2]! };
      offset += 4;
    }
  }
  const constants: Record<string, string> = {};
  for (const match of code.matchAll(/^const ([A-Z][A-Z0-9_]*)\s*(?::\s*\w+)?\s*=\s*([^;]+);/gm))
    constants[match[1]!] = match[2]!;
  if (!/@compute/.test(code)) throw new Error(`${name}: no @compute entry point`);
  const last = bindings.at(-1);
  if (struct && last?.type !== 'uniform') throw new Error(`${name}: params must be the last binding`);
  const readsVolumes = /\bQuad\b/.test(code);
  const usesMatrices = /@builtin\(subgroup_id\)/.test(code);
  return { code, descriptor: { name, readsVolumes, usesMatrices, bindings, params, constants } };
}

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return ['common', 'storage'].includes(entry.name) ? [] : files(path);
      return entry.name.endsWith('.wgsl') ? [path] : [];
    })
    .sort();
}

const shaders = files(shaderRoot).map(describe);
/** The lines of an object literal. */
const entries = (values: readonly (readonly [string, unknown])[]): string =>
  values.map(([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(value)},\n`).join('');
const storages = readdirSync(join(shaderRoot, 'storage'))
  .sort()
  .map((name): [string, string] => [
    name.replace(/\.wgsl$/, ''),
    strip(readFileSync(join(shaderRoot, 'storage', name), 'utf8')),
  ]);
const generated = join(root, 'src/generated');
const made = '// Made by scripts/build-shaders.ts from shaders/; do not edit.\n';
mkdirSync(generated, { recursive: true });
writeFileSync(
  join(generated, 'shaders.ts'),
  `${made}/** A kernel by the path of its file under \`shaders/\`. */
export type ShaderName =
${shaders.map(({ descriptor }) => `  | '${descriptor.name}'\n`).join('')};

export const shaders = {\n${entries(shaders.map(({ descriptor }) => [descriptor.name, descriptor]))}} as const;\n`,
);
writeFileSync(
  join(generated, 'wgsl.ts'),
  `${made}export const wgsl: Readonly<Record<string, string>> = {\n${entries(shaders.map(({ code, descriptor }) => [descriptor.name, code]))}};\n\n` +
    '/** How quads are stored; goes in front of every kernel that reads or writes volumes. */\n' +
    `export const storages = {\n${entries(storages)}};\n`,
);
console.log(`${shaders.length} shaders -> src/generated/`);
