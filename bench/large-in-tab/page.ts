/** The page of bench/large-in-tab.ts: gives the files that were chosen to a worker. */
import { UNet3D } from '../../src/worker/client.ts';

const chosen = (id: string): readonly File[] => [
  ...document.querySelector<HTMLInputElement>(`#${id}`)!.files!,
];

const tasks = {
  async folder(told: (what: string) => void): Promise<void> {
    await byNnunet(
      chosen('folder').map((file) => ({ path: file.webkitRelativePath, source: file })),
      told,
    );
  },
  async zip(told: (what: string) => void): Promise<void> {
    await byNnunet(chosen('file')[0]!, told);
  },
  async safetensors(told: (what: string) => void): Promise<void> {
    const worker = new Worker('thread.js', { type: 'module' });
    const model = await UNet3D.load(chosen('file')[0]!, { worker });
    told('opened');
    await model.predict(chosen('scan')[0]!, { tta: false });
  },
};

function byNnunet(files: unknown, told: (what: string) => void): Promise<void> {
  const worker = new Worker('nnunet.js', { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<string>) => {
      if (data.startsWith('failed')) reject(new Error(data));
      else if (data === 'done') resolve();
      else told(data);
    };
    worker.postMessage({ files, scan: chosen('scan')[0] });
  });
}

Object.assign(globalThis, {
  /** Seconds until the model was open, and until the scan was segmented. */
  async run(how: keyof typeof tasks) {
    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1000;
    let opened = 0;
    await tasks[how](() => (opened = seconds()));
    return [opened, seconds()];
  },
});
