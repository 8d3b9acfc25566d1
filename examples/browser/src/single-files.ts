/** Images and labels that are given one after another, file by file, until they can be matched. */
import { looksLikeLabel, stemOf, type Case, type FileEntry } from 'unet3d-gpu/worker';

/** What the person said the files are. */
export type Kind = 'any' | 'images' | 'labels';

/** Files of a path that is there already take its place. */
function added(to: readonly FileEntry[], more: readonly FileEntry[]): FileEntry[] {
  const paths = new Set(more.map(({ path }) => path));
  return [...to.filter(({ path }) => !paths.has(path)), ...more];
}

export class SingleFiles {
  images: readonly FileEntry[] = [];
  labels: readonly FileEntry[] = [];

  get isEmpty(): boolean {
    return this.images.length + this.labels.length === 0;
  }

  clear(): void {
    this.images = this.labels = [];
  }

  add(volumes: readonly FileEntry[], as: Kind): void {
    const isLabel = ({ path }: FileEntry): boolean =>
      as === 'labels' || (as === 'any' && looksLikeLabel(path));
    this.images = added(
      this.images,
      volumes.filter((file) => !isLabel(file)),
    );
    this.labels = added(this.labels, volumes.filter(isLabel));
  }

  /** The images; where names repeat in several folders, those tell them apart. */
  cases(): Case[] {
    const times = new Map<string, number>();
    for (const { path } of this.images) times.set(stemOf(path), (times.get(stemOf(path)) ?? 0) + 1);
    return this.images.map(({ path, source }) => {
      const folders = path.split('/').slice(0, -1);
      const name = stemOf(path);
      const id = times.get(name) === 1 ? name : [...folders, name].join('_');
      return { id, subject: id, images: [source] };
    });
  }

  /** The images, each with the only label of its name where there is one. */
  guessed(): Case[] {
    return this.cases().map((item) => {
      const [label, ...others] = this.labels.filter(({ path }) => stemOf(path) === item.id);
      return label && others.length === 0 ? { ...item, label: label.source } : item;
    });
  }
}
