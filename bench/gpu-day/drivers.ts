/**
 * Vulkan drivers of NVIDIA that may be on a machine where nobody has installed one for Vulkan's loader: descriptions in the
 * known places, and libraries without one, which get a description here.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { driverNamedByEnvironment } from '../../src/gpu/drivers.node.ts';

const descriptions = [
  '/usr/local/nvidia/share/vulkan/icd.d',
  '/etc/vulkan/icd.d',
  '/usr/share/vulkan/icd.d',
  '/usr/local/share/vulkan/icd.d',
];
const libraries = [
  '/usr/local/nvidia/lib64',
  '/usr/local/nvidia/lib',
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu/nvidia/current',
  '/usr/lib64',
  '/usr/local/cuda/compat',
];
/** The first needs the libraries of X, the second does not. */
const names = ['libGLX_nvidia.so.0', 'libEGL_nvidia.so.0'];

/** Folders that the system's linker knows for libraries of NVIDIA. */
function listed(): string[] {
  try {
    const text = execFileSync('ldconfig', ['-p'], { encoding: 'utf8', stdio: 'pipe' });
    return [...text.matchAll(/=> (.*nvidia.*)$/gm)].map(([, path]) => dirname(path!));
  } catch {
    return [];
  }
}

/** Paths of descriptions, those to try first first. */
export function vulkanDrivers(folder: string): string[] {
  const named = driverNamedByEnvironment();
  const found = descriptions
    .filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place).map((name) => join(place, name)))
    .filter((path) => /nvidia.*\.json$/.test(path));
  const written = names.flatMap((name) => {
    const place = [...libraries, ...listed()].find((path) => existsSync(join(path, name)));
    if (place === undefined) return [];
    const ICD = { library_path: join(place, name), api_version: '1.3.277' };
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${name}.json`);
    writeFileSync(path, JSON.stringify({ file_format_version: '1.0.0', ICD }));
    return [path];
  });
  return [...(named === undefined ? [] : [named]), ...found, ...written];
}
