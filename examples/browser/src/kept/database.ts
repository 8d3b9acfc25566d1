/** What the browser keeps of this page in IndexedDB: trainings, and the data they were given. Weights are files. */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import {
  QuotaExceeded,
  type Case,
  type EpochRow,
  type Preprocessing,
  type Region,
  type Size3,
  type TakeOptions,
  type UNet3DConfig,
} from 'unet3d-gpu/worker';
import type { Marks } from '../annotate/drawing.ts';
import type { Settings } from '../state.ts';

/** The network that a training begins with. Its weights lie beside the checkpoint. */
export interface Beginning {
  /** What it was called. */
  readonly name: string;
  readonly config: UNet3DConfig;
  readonly heads: NonNullable<TakeOptions['heads']>;
  /** What of it stays as it is. */
  readonly freeze?: 'encoder';
}

/** A training as it is kept: nothing in here changes with what the page is set to later. */
export interface RunRecord {
  readonly id: string;
  /** What the visitor calls it. */
  readonly name: string;
  readonly started: Date;
  readonly finished?: Date;
  /** Key of the data that it was given. */
  readonly data: string;
  readonly dataName: string;
  /** The cases that it uses: others of the data are not here. */
  readonly cases: readonly { readonly id: string; readonly part: 'train' | 'validation' }[];
  /** Class names by label value, background first. */
  readonly labels: readonly string[];
  /** What is learnt where that is not classes, of which one wins, but regions that overlap. */
  readonly regions?: readonly Region[];
  readonly ignoreLabel: number | undefined;
  readonly channels: number;
  /** Empty where the data set does not tell them. */
  readonly channelNames: readonly string[];
  readonly settings: Readonly<Settings>;
  readonly preprocessing: Preprocessing;
  /** Whether it began with the weights of another network, which lie beside its checkpoint. */
  readonly continues?: boolean;
  /** That network; what was kept earlier has one of the settings' features. */
  readonly from?: Beginning;
  readonly history: readonly EpochRow[];
  /** The epoch whose weights are kept, and the mean Dice of its classes. */
  readonly best?: { readonly epoch: number; readonly dice: number };
}

/** Cases with their files, which may belong to several trainings. */
export interface DataRecord {
  readonly id: string;
  readonly name: string;
  readonly cases: readonly Case[];
}

/** What is drawn on a case, which is known by what its images hold. */
export interface DrawingRecord {
  /** Of its images. */
  readonly id: string;
  /** Of the images' files. */
  readonly bytes?: number;
  /** x, y, z of the images' files. */
  readonly shape: Size3;
  /** One byte per voxel in the order of the file, as annotate/drawing.ts has them; packed by gzip. */
  readonly voxels: Uint8Array<ArrayBuffer>;
  readonly marks: Marks;
  /** Slices with something drawn, across the axis across which they are fewest. */
  readonly drawn: number;
  /** Class names by label value, background first. */
  readonly names: readonly string[];
  readonly changed: Date;
  /** The case, with the key of its images; none where these did not fit the disk, and in what was kept earlier. */
  readonly scan?: Pick<Case, 'id' | 'subject'> & { readonly imagesId: string };
}

/** A case as it lies in the database: its images elsewhere there; in what was kept earlier, with it. */
export type StoredCase = Omit<Case, 'images'> & {
  readonly images?: Case['images'];
  readonly imagesId?: string;
};

export interface Kept extends DBSchema {
  runs: { key: string; value: RunRecord };
  data: { key: string; value: Omit<DataRecord, 'cases'> & { readonly cases: readonly StoredCase[] } };
  images: {
    key: string;
    value: {
      readonly id: string;
      readonly images: Case['images'];
      /** Which of them the page has made; absent where none. */
      readonly made?: readonly boolean[];
    };
  };
  drawings: { key: string; value: DrawingRecord };
}

let hasOpened = false;

/** Whether this browser keeps anything, as far as is known in this visit: some private windows keep nothing. */
export const keepsAnything = (): boolean => hasOpened;

/** @throws QuotaExceeded where the files do not fit the disk; Error where the browser keeps nothing */
export async function withDatabase<T>(work: (database: IDBPDatabase<Kept>) => Promise<T>): Promise<T> {
  const database = await openDB<Kept>('unet3d-gpu-example', 4, {
    upgrade(opened, before) {
      if (before < 2) {
        for (const name of [...opened.objectStoreNames]) opened.deleteObjectStore(name);
        opened.createObjectStore('runs', { keyPath: 'id' });
        opened.createObjectStore('data', { keyPath: 'id' });
      }
      if (before < 3) opened.createObjectStore('drawings', { keyPath: 'id' });
      opened.createObjectStore('images', { keyPath: 'id' });
    },
  });
  hasOpened = true;
  try {
    return await work(database);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'QuotaExceededError') throw error;
    throw new QuotaExceeded(
      'the files of this training do not fit the room this site has on the disk: free disk space, or train on fewer cases',
      NaN,
      NaN,
    );
  } finally {
    database.close();
  }
}
