/**
 * Compiles wasm/assembly/ as asconfig.json says and writes the bytes, as base64 in a TypeScript constant, to
 * src/generated/wasm.ts: every bundler and runtime then loads them alike, without a fetch.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);
const binary = join(root, 'wasm/build/unet3d.wasm');
mkdirSync(dirname(binary), { recursive: true });
const { error } = await main(['--config', 'asconfig.json', '--target', 'release'], {
  stdout: process.stdout,
  stderr: process.stderr,
});
if (error) process.exit(1);

const bytes = readFileSync(binary);
const out = join(root, 'src/generated/wasm.ts');
mkdirSync(dirname(out), { recursive: true });
writeFileSync(
  out,
  `// Made by scripts/build-wasm.ts from wasm/assembly/; do not edit.\nexport const wasmBase64 = '${bytes.toString('base64')}';\n`,
);
console.log(`${bytes.length} bytes of WASM -> src/generated/wasm.ts`);
