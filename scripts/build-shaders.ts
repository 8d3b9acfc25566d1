/**
 * Reads shaders/**\/*.wgsl and writes src/generated/shaders.ts: the code with its includes expanded,
 * and typed descriptors of bindings, Params fields and named constants taken from the WGSL itself,
 * so that the TypeScript that dispatches a kernel cannot drift from it.
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

function strip(code: string): string {
  return code
    .replace(/\/\/.*$/gm, '')
    .replace(/[ \t]+$/gm, '')
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
  const code = strip(expand(file));
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
  return { name, code, bindings, params, constants };
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
const body = shaders
  .map((shader) => `  ${JSON.stringify(shader.name)}: ${JSON.stringify(shader)},`)
  .join('\n');
const storages = readdirSync(join(shaderRoot, 'storage'))
  .sort()
  .map((name) => {
    const code = strip(readFileSync(join(shaderRoot, 'storage', name), 'utf8'));
    return `  ${JSON.stringify(name.replace(/\.wgsl$/, ''))}: ${JSON.stringify(code)},`;
  })
  .join('\n');
const out = join(root, 'src/generated/shaders.ts');
mkdirSync(dirname(out), { recursive: true });
writeFileSync(
  out,
  `// Made by scripts/build-shaders.ts from shaders/; do not edit.\nexport const shaders = {\n${body}\n} as const;\n\n` +
    `/** How quads are stored; goes in front of every kernel that reads or writes volumes. */\n` +
    `export const storages = {\n${storages}\n} as const;\n`,
);
console.log(`${shaders.length} shaders -> src/generated/shaders.ts`);
