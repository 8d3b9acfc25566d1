/**
 * Compiles wasm/assembly/ as asconfig.json says and writes the bytes, as base64 in a TypeScript constant, to
 * src/generated/wasm.ts: every bundler and runtime then loads them alike, without a fetch.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);
const binary = join(root, 'wasm/build/unet3d.wasm');
mkdirSync(dirname(binary), { recursive: true });
// As a command: the types of the compiler's module declare arrays anew, for all files that are checked beside it.
const compiler = join(root, 'node_modules/assemblyscript/bin/asc.js');
const { status } = spawnSync(
  process.execPath,
  [compiler, '--config', 'asconfig.json', '--target', 'release'],
  {
    stdio: 'inherit',
  },
);
if (status !== 0) process.exit(1);

const bytes = readFileSync(binary);
const out = join(root, 'src/generated/wasm.ts');
mkdirSync(dirname(out), { recursive: true });
writeFileSync(
  out,
  `// Made by scripts/build-wasm.ts from wasm/assembly/; do not edit.\nexport const wasmBase64 = '${bytes.toString('base64')}';\n`,
);
console.log(`${bytes.length} bytes of WASM -> src/generated/wasm.ts`);
