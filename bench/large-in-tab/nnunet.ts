/** The worker of bench/large-in-tab.ts: opens a model of nnU-Net's from its files and segments a scan. */
import { NnunetPredictor } from '../../src/index.ts';
import type { FileEntry } from '../../src/data/case.ts';

interface Request {
  readonly files: readonly FileEntry[] | File;
  readonly scan: File;
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Request>) => void;
  postMessage: (message: unknown) => void;
};

async function work({ files, scan }: Request): Promise<void> {
  const predictor = await NnunetPredictor.load(files);
  scope.postMessage('opened');
  await predictor.predict(scan, { mirror: false });
  scope.postMessage('done');
}

scope.onmessage = ({ data }) =>
  void work(data).catch((error: unknown) => scope.postMessage(`failed: ${String(error)}`));
