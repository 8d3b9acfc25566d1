/** The adapter of a command: found once, named before anything else, and let go at the end; and the options that say how it is used. */
import type { Command } from 'commander';
import { setAdapterProvider } from '../gpu/device.ts';
import { adapterNotice, requestNodeAdapter, type NodeAdapter } from '../gpu/node.ts';
import { folderCache } from '../model/tuning-cache.node.ts';
import { setTuningStore } from '../model/tuning-cache.ts';
import type { Io } from './io.ts';

export interface GpuArguments {
  /** See `DeviceOptions`. */
  readonly matrixUnits?: boolean;
}

/** Adds the options of commands that open a GPU. */
export const addGpuOptions = (command: Command): Command =>
  command
    .option(
      '--matrix-units',
      'convolutions may use matrix units, which round what they multiply to float16; by default only where volumes are float16',
    )
    .option('--no-matrix-units', 'convolutions without matrix units');

/** As the calls that open models take them. */
export const gpuWishes = ({ matrixUnits }: GpuArguments) =>
  matrixUnits === undefined ? {} : { matrixUnits };

/** Finds the adapter, prints it (with the tip where it is SwiftShader) and makes models use it, and the user's cache. */
export async function announceAdapter(
  io: Io,
  { matrixUnits = false }: GpuArguments = {},
): Promise<NodeAdapter> {
  const found = await requestNodeAdapter({ matrixUnits });
  const none = found.source === 'swiftshader' ? 'no system GPU, using SwiftShader: ' : '';
  io.err(...`GPU: ${none}${adapterNotice(found)}`.split('\n'));
  setTuningStore(() => Promise.resolve(folderCache()));
  // An adapter gives one device; models opened after the first ask again.
  let first: NodeAdapter | undefined = found;
  setAdapterProvider(async (wishes) => {
    const taken = wishes.matrixUnits === matrixUnits ? first : undefined;
    first = undefined;
    return taken ?? requestNodeAdapter(wishes);
  });
  return found;
}
