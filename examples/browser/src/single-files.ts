/** Images and labels that are given one after another, file by file, until they can be matched. */
import { looksLikeLabel, stemOf, type Case, type FileEntry } from 'unet3d-gpu/worker';
import { unnamed } from './state.ts';

/** What the person said the files are. */
export type Kind = 'any' | 'images' | 'labels';

/** Files of a path that is there already take its place. */
function added(to: readonly FileEntry[], more: readonly FileEntry[]): FileEntry[] {
  const paths = new Set(more.map(({ path }) => path));
  return [...to.filter(({ path }) => !paths.has(path)), ...more];
}

const isLabel = ({ path }: FileEntry, as: Kind): boolean =>
  as === 'labels' || (as === 'any' && looksLikeLabel(path));

export class SingleFiles {
  /** What they are called. */
  readonly name: string;
  readonly images: readonly FileEntry[];
  readonly labels: readonly FileEntry[];

  constructor(name = unnamed, images: readonly FileEntry[] = [], labels: readonly FileEntry[] = []) {
    this.name = name;
    this.images = images;
    this.labels = labels;
  }

  with(volumes: readonly FileEntry[], as: Kind): SingleFiles {
    const labels = volumes.filter((file) => isLabel(file, as));
    const images = volumes.filter((file) => !isLabel(file, as));
    return new SingleFiles(this.name, added(this.images, images), added(this.labels, labels));
  }

  /** Whether these can only belong to what is here already: labels to images, or anything to labels alone. */
  awaits(volumes: readonly FileEntry[], as: Kind): boolean {
    if (this.images.length === 0) return this.labels.length > 0;
    return volumes.every((file) => isLabel(file, as));
  }

  /** Whether more images can be matched together with these, which have no labels yet: no two have one path. */
  grows(volumes: readonly FileEntry[]): boolean {
    const paths = new Set(this.images.map(({ path }) => path));
    return paths.size > 0 && this.labels.length === 0 && !volumes.some(({ path }) => paths.has(path));
  }

  /** The images; where names repeat in several folders, those tell them apart. */
  cases(): Case[] {
    const times = new Map<string, number>();
    for (const { path } of this.images) times.set(stemOf(path), (times.get(stemOf(path)) ?? 0) + 1);
    const taken = new Set([...times].filter(([, count]) => count === 1).map(([name]) => name));
    return this.images.map(({ path, source }) => {
      const folders = path.split('/').slice(0, -1);
      const name = stemOf(path);
      const told = [...folders, name].join('_');
      const isOnly = times.get(name) === 1;
      let id = isOnly ? name : told;
      for (let again = 2; !isOnly && taken.has(id); again++) id = `${told}_${again}`;
      taken.add(id);
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
