/** Decoded files that a training will want again, in memory as far as a budget of bytes allows. */
import type { Case } from '../data/case.ts';
import { turnedOnto } from '../data/grid.ts';
import { readCase } from '../data/prepare.ts';
import { turnedVolume, type Grid, type Volume } from '../data/volume.ts';

type Files = Awaited<ReturnType<typeof readCase>>;

/** Files of cases that are looked at before they are prepared. */
export class CaseFiles {
  readonly #kept = new Map<string, Files>();
  #bytes = 0;

  constructor(readonly budget: number) {}

  /** Files of a case, kept where they fit. @throws InvalidVolume, naming the case, for one that cannot be read */
  async read(item: Case): Promise<Files> {
    const found = this.#kept.get(item.id);
    if (found) return found;
    const files = await readCase(item);
    const bytes = bytesOf(files);
    if (this.#bytes + bytes > this.budget) return files;
    this.#kept.set(item.id, files);
    this.#bytes += bytes;
    return files;
  }

  /** As `read`, kept no longer: their arrays may be used up. */
  async take(item: Case): Promise<Files> {
    const found = this.#kept.get(item.id);
    if (!found) return readCase(item);
    this.#kept.delete(item.id);
    this.#bytes -= bytesOf(found);
    return found;
  }
}

const bytesOf = ({ images, label }: Files): number =>
  [...images, ...(label ? [label] : [])].reduce((sum, { data }) => sum + data.byteLength, 0);

/** Labels of cases that will be tested, in a byte per voxel. */
export class Truths {
  readonly #kept = new Map<string, { readonly volume: Volume; readonly values: Uint8Array }>();
  #bytes = 0;

  constructor(readonly budget: number) {}

  keep(id: string, volume: Volume): void {
    const { data } = volume;
    if (this.#bytes + data.length > this.budget) return;
    const values = new Uint8Array(data);
    if (!values.every((value, at) => value === data[at])) return;
    this.#kept.set(id, { volume: { ...volume, data: new Float32Array() }, values });
    this.#bytes += values.length;
  }

  /** The label of a case, its axes turned to those of a grid at the same place; undefined where it is not kept. */
  of(id: string, grid: Grid): Volume | undefined {
    const found = this.#kept.get(id);
    if (!found) return undefined;
    const volume = { ...found.volume, data: new Float32Array(found.values) };
    return turnedVolume(volume, turnedOnto(volume, grid));
  }
}
