/**
 * Every kernel with all constants that plans use, translated for Metal and for Direct3D by naga's writers: that they can be
 * is a check without the hardware. Matrix units and subgroups are not among them: naga does not know them. Needs naga as
 * WebAssembly, which is no dependency: `npm install --no-save naga-wasm@30.1.0`, or elsewhere, and its path.
 *   npx tsx scripts/translations.ts [--naga PATH/naga-wasm/dist/node.js] [--folder FOR_THE_CODE]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { StorageFormat } from '../src/gpu/shader.ts';
import { kernelCode } from '../test/support/variants.ts';

/** What is used of naga-wasm 30. */
interface Naga {
  readonly nagaVersion: string;
  parseWgsl(source: string): Disposable;
  validate(module: Disposable): Disposable;
  writeMsl(module: Disposable, info: Disposable, options: { langVersion: [number, number] }): string;
  writeHlsl(module: Disposable, info: Disposable, options: { shaderModel: string }): string;
}

const { values: options } = parseArgs({
  options: { naga: { type: 'string', default: 'naga-wasm' }, folder: { type: 'string' } },
});
const naga = (await import(options.naga)) as Naga;
const formats: readonly StorageFormat[] = ['f32', 'packed16', 'f16'];
const writers = {
  metal: (...of: [Disposable, Disposable]) => naga.writeMsl(...of, { langVersion: [2, 4] }),
  // With types of 16 bits.
  hlsl: (...of: [Disposable, Disposable]) => naga.writeHlsl(...of, { shaderModel: '6_2' }),
};

const { folder } = options;
if (folder !== undefined) mkdirSync(folder, { recursive: true });
const problems: string[] = [];
let count = 0;
for (const [name, code] of kernelCode(formats)) {
  for (const [kind, write] of Object.entries(writers)) {
    try {
      using module = naga.parseWgsl(code);
      using info = naga.validate(module);
      const text = write(module, info);
      if (folder !== undefined)
        writeFileSync(join(folder, `${name.replaceAll(/[^\w=.]+/g, '-')}.${kind}`), text);
      count++;
    } catch (error) {
      problems.push(`${name}, ${kind}: ${String(error)}`);
    }
  }
}
for (const problem of problems) console.error(problem);
console.log(`naga ${naga.nagaVersion}: ${count} translations, ${problems.length} problems`);
if (problems.length > 0) process.exitCode = 1;
