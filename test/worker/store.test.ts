/** The store of a training in a worker, which stays on the page: without a GPU, the worker made up. */
import { expect, test } from 'vitest';
import { DeviceLost } from '../../src/errors.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { UNet3D } from '../../src/worker/client.ts';
import type { ModelFacts, Question, Request, Response } from '../../src/worker/protocol.ts';
import { cases, network } from '../support/calls.ts';

test('a store is let go once nothing is written there any more', async () => {
  let running = 0;
  const asking = (id: number, ask: number, what: Question, args: readonly unknown[]): void =>
    say({ type: 'ask', id, ask, what, args });
  const worker = Object.assign(new EventTarget(), {
    postMessage(message: Request) {
      if (message.type === 'hello') say({ type: 'ready' });
      if (message.type === 'answer' && message.ask === 1)
        asking(running, 2, 'saveCheckpoint', ['checkpoint', new Uint8Array(1)]);
      if (message.type !== 'call') return;
      running = message.id;
      const facts = { config: completeConfig(network) } as unknown as ModelFacts;
      if (message.method === 'create') say({ type: 'result', id: message.id, value: undefined, facts });
      if (message.method === 'fit') asking(message.id, 1, 'holdCheckpoint', []);
    },
  });
  const say = (data: Response): void =>
    queueMicrotask(() => worker.dispatchEvent(new MessageEvent('message', { data })));

  const model = await UNet3D.create({ ...network, worker: worker as unknown as Worker });
  let isHeld = false;
  let [isWriting, written] = [(): void => undefined, (): void => undefined];
  const writing = new Promise<void>((resolve) => (isWriting = resolve));
  const checkpoint = {
    load: () => Promise.resolve(undefined),
    save() {
      isWriting();
      return new Promise<void>((resolve) => (written = resolve));
    },
    hold() {
      isHeld = true;
      return Promise.resolve({ [Symbol.dispose]: () => void (isHeld = false) });
    },
  };
  const run = model.fit(cases, { epochs: 1, checkpoint });
  await writing;
  model.dispose();
  await expect(run).rejects.toThrow(DeviceLost);
  await new Promise((resolve) => setTimeout(resolve));
  expect(isHeld).toBe(true);
  written();
  await new Promise((resolve) => setTimeout(resolve));
  expect(isHeld).toBe(false);
});
