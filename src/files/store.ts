/** Where named files are kept: a folder in Node, the origin's private files in a browser, memory in a test. */
export interface FileStore {
  /** Leaves either the old or the new file, never half of one. */
  save(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** `undefined` where there is none. */
  load(name: string): Promise<Uint8Array | undefined>;
}
