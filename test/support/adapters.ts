/** How a test file tells the summary, which is printed by another process, on which adapters it ran. */

declare module 'vitest' {
  interface TaskMeta {
    adapters?: string[];
  }
}

/** To be called with what vitest passes to a file's `afterAll`. */
export function noteAdapters(file: { meta: { adapters?: string[] } }, adapters: string[]): void {
  file.meta.adapters = adapters;
}
