/** The adapter of a command: found once, named before anything else, and let go at the end. */
import { setAdapterProvider } from '../gpu/device.ts';
import { adapterNotice, requestNodeAdapter, type NodeAdapter } from '../gpu/node.ts';
import { folderCache } from '../model/tuning-cache.node.ts';
import { setTuningStore } from '../model/tuning-cache.ts';
import type { Io } from './io.ts';

/** Finds the adapter, prints it (with the tip where it is SwiftShader) and makes models use it, and the user's cache. */
export async function announceAdapter(io: Io): Promise<NodeAdapter> {
  const found = await requestNodeAdapter();
  const none = found.source === 'swiftshader' ? 'no system GPU, using SwiftShader: ' : '';
  io.err(...`GPU: ${none}${adapterNotice(found)}`.split('\n'));
  setTuningStore(() => Promise.resolve(folderCache()));
  // An adapter gives one device; models opened after the first ask again.
  let first: NodeAdapter | undefined = found;
  setAdapterProvider(async (wishes) => {
    const taken = wishes.matrixUnits ? undefined : first;
    first = undefined;
    return taken ?? requestNodeAdapter(wishes);
  });
  return found;
}
