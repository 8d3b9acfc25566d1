/** The Node entry, also Deno's: everything of the browser's, with Dawn as Node's source of adapters and files as sources. */
import { browserAdapter, setAdapterProvider } from './gpu/device.ts';
import { adapterNotice, requestNodeAdapter, warnOfSoftware } from './gpu/node.ts';
import './data/source.node.ts';
import './hash.node.ts';
import { setTuningStore } from './model/tuning-cache.ts';
import { folderCache } from './model/tuning-cache.node.ts';

setAdapterProvider(async (wishes) => {
  // Deno has WebGPU of its own.
  if ('Deno' in globalThis && 'gpu' in navigator) return browserAdapter();
  const found = await requestNodeAdapter(wishes);
  warnOfSoftware(found);
  return {
    adapter: found.adapter,
    instance: found.gpu,
    describe: adapterNotice(found),
    implementation: found.implementation,
  };
});
setTuningStore(() => Promise.resolve(folderCache()));

export * from './index.ts';
export { releaseNodeGpu } from './gpu/node.ts';
export { setPolling, type Polling } from './gpu/polling.node.ts';
export { cacheFolder, folderCache } from './model/tuning-cache.node.ts';
export { folderStore } from './train/checkpoint.node.ts';
export { joinRanks, type MpiRanks } from './distributed/mpi.node.ts';
export { openDatasetFolder, openFolderPair } from './data/dataset.node.ts';
export { openEnsembleFolder } from './ensemble.node.ts';
export { writeFileAtomically } from './files/write.node.ts';
