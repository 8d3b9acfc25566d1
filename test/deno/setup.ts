/**
 * Runs before every test file on Deno: adapters are Deno's own, whatever the file before has set, and no test begins
 * once those of the file have taken the seconds that they are given; the first one always runs.
 */
import { beforeEach, inject } from 'vitest';
import { browserAdapter, setAdapterProvider } from '../../src/gpu/device.ts';
import { setTuningStore } from '../../src/model/tuning-cache.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** In which the tests of one file may begin. */
    seconds: number;
  }
}

setAdapterProvider(browserAdapter);
setTuningStore(() => Promise.resolve(undefined));

const seconds = inject('seconds');
let started: number | undefined;
beforeEach(({ skip }) => {
  started ??= performance.now();
  skip(performance.now() - started > 1000 * seconds, `its file has ${seconds} s`);
});
