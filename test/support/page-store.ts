/**
 * What a browser keeps for the page of examples/browser, in memory, and what else the page's modules ask of one: with
 * these in their places, they run in Node. Stands in for kept/database.ts as a module.
 */
import { vi } from 'vitest';
import type { PrivateStore } from '../../src/worker/index.ts';

type Row = Record<string, unknown>;

/** A copy, as IndexedDB makes one; files stay what they are. */
function copied(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || value instanceof Blob) return value;
  if (Array.isArray(value)) return value.map(copied);
  if (Object.getPrototypeOf(value) !== Object.prototype) return structuredClone(value);
  return Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, copied(inside)]));
}

interface Kept {
  readonly tables: Map<string, Table>;
  readonly files: Map<string, Uint8Array>;
}

class Table {
  readonly rows = new Map<string, Row>();

  get(id: string): unknown {
    return copied(this.rows.get(id));
  }

  getKey(id: string): string | undefined {
    return this.rows.has(id) ? id : undefined;
  }

  getAll(): unknown {
    return [...this.rows.values()].map(copied);
  }

  getAllKeys(): string[] {
    return [...this.rows.keys()];
  }

  put(row: Row): void {
    this.rows.set(String(row['id']), copied(row) as Row);
  }

  delete(id: string): void {
    this.rows.delete(id);
  }
}

/** Outlives `vi.resetModules`, which stands for a reload of the page. */
const kept = ((globalThis as { kept?: Kept }).kept ??= { tables: new Map(), files: new Map() });
const { tables, files } = kept;

function table(name: string): Table {
  const found = tables.get(name) ?? new Table();
  tables.set(name, found);
  return found;
}

const database = {
  get: (name: string, id: string) => table(name).get(id),
  getAll: (name: string) => table(name).getAll(),
  getAllKeys: (name: string) => table(name).getAllKeys(),
  put: (name: string, row: Row) => table(name).put(row),
  delete: (name: string, id: string) => table(name).delete(id),
  transaction: (names: string | string[]) => ({
    store: table([names].flat()[0]!),
    objectStore: table,
    done: Promise.resolve(),
  }),
};

/** As of kept/database.ts, of a browser that keeps what it is given. */
export const keepsAnything = (): boolean => true;

/** As of kept/database.ts. */
export const withDatabase = <T>(work: (opened: typeof database) => T | Promise<T>): Promise<T> =>
  Promise.resolve(database).then(work);

const done = Promise.resolve();

/** As of `unet3d-gpu/worker`. */
export const privateStore = (): Promise<PrivateStore> =>
  Promise.resolve({
    save(name, bytes) {
      files.set(name, bytes.slice());
      return done;
    },
    load: (name) => Promise.resolve(files.get(name)?.slice()),
    list: () => Promise.resolve([...files.keys()]),
    remove(name) {
      files.delete(name);
      return done;
    },
  });

/** Another browser, in which nothing is kept. */
export function forgetAll(): void {
  tables.clear();
  files.clear();
}

/** What modules of the page ask of a browser when they are loaded or used. */
export function stubBrowser(): void {
  const session = new Map<string, string>();
  vi.stubGlobal('document', { addEventListener: () => undefined });
  vi.stubGlobal('navigator', {});
  vi.stubGlobal('confirm', () => true);
  vi.stubGlobal(
    'BroadcastChannel',
    class extends EventTarget {
      postMessage(): void {
        // there is no other tab
      }
    },
  );
  vi.stubGlobal('sessionStorage', {
    setItem: (key: string, value: string) => session.set(key, value),
    getItem: (key: string) => session.get(key) ?? null,
  });
}
