/** Where named files are kept: a folder in Node, the origin's private files in a browser, memory in a test. */
export interface FileStore {
  /** Leaves either the old or the new file, never half of one. */
  save(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** `undefined` where there is none. */
  load(name: string): Promise<Uint8Array | undefined>;
  /**
   * Keeps other trainings out, in whatever process or tab, until the result is disposed of.
   * @throws UNet3DError where one is in there already
   */
  hold?(): Promise<Disposable>;
  /** Reads a file and saves what `change` makes of it, with nobody else's save in between. */
  update?(name: string, change: (bytes: Uint8Array | undefined) => Uint8Array<ArrayBuffer>): Promise<void>;
}

/** Where a store that keeps the file before the newest has it. */
export const previousName = (name: string): string => `${name}.previous`;
