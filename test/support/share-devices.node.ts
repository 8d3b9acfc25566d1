/** Runs before every test file of those that share a process: they share its GPU device as well. */
import { shareDevices } from './one-device.ts';

// The optional package is what brings WebGPU's names.
const dawn = await import('webgpu').catch(() => undefined);
Object.assign(globalThis, dawn?.globals);
shareDevices();
