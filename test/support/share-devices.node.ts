/**
 * Runs before every test file of those that share a process: they share its GPU device as well, but not where the file
 * before took adapters and tuned kernels from, nor how many random numbers it drew.
 */
import { setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { setTuningStore } from '../../src/model/tuning-cache.ts';
import { restartNormals } from './normals.ts';
import { shareDevices } from './one-device.ts';

// The optional package is what brings WebGPU's names.
const dawn = await import('webgpu').catch(() => undefined);
Object.assign(globalThis, dawn?.globals);
shareDevices();
setAdapterProvider(requestNodeAdapter);
setTuningStore(() => Promise.resolve(undefined));
restartNormals();
