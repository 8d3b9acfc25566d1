/** Values of options: what is written on the command line, checked and turned into what the package takes. */
import { InvalidArgumentError } from 'commander';
import type { Axis, Size3 } from '../size.ts';
import { leastStep } from '../interop/nnunet/pipeline/logits.ts';
import { concessions as allConcessions, type Concession } from '../model/concessions.ts';
import type { Shard } from './slurm.ts';

const fail = (text: string): never => {
  throw new InvalidArgumentError(text);
};

export function wholeNumber(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    const range = high === Number.MAX_SAFE_INTEGER ? `from ${low} on` : `from ${low} to ${high}`;
    return /^\d+$/.test(text.trim()) && value >= low && value <= high
      ? value
      : fail(`Give a whole number ${range}.`);
  };
}

export function numberFrom(low: number, above = false): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    return Number.isFinite(value) && (above ? value > low : value >= low)
      ? value
      : fail(`Give a number ${above ? 'above' : 'of at least'} ${low}.`);
  };
}

/** From 0 to 1, also as a fraction. */
export function share(text: string): number {
  const [, above, below = '1'] = /^\s*([\d.]+(?:e-?\d+)?)\s*(?:\/\s*(\d+))?\s*$/i.exec(text) ?? [];
  const value = Number(above) / Number(below);
  return value >= 0 && value <= 1 ? value : fail('Give a share from 0 to 1, such as 0.5 or 1/3.');
}

/** Between 0 and 1, neither of them. */
export function decay(text: string): number {
  const value = Number(text);
  return value > 0 && value < 1 ? value : fail('Give a number between 0 and 1, such as 0.999.');
}

/** From 0 up to, not including, 1. */
export function overlap(text: string): number {
  const value = text.trim() === '' ? NaN : Number(text);
  return value >= 0 && value < 1 ? value : fail('Give a share from 0 up to, not including, 1.');
}

/** From the least that windows go on by to 1. */
export function step(text: string): number {
  const value = text.trim() === '' ? NaN : Number(text);
  return value >= leastStep && value <= 1 ? value : fail(`Give a share from ${leastStep} to 1, such as 0.5.`);
}

/** Texts separated by commas. */
export function list(text: string): string[] {
  const parts = text.split(',').map((part) => part.trim());
  const isOdd = parts.includes('') || new Set(parts).size < parts.length;
  return isOdd ? fail('Give names separated by commas, each once, such as 0,1,2.') : parts;
}

/** Numbers from 0 on, not all 0. */
export function weights(text: string): number[] {
  const values = numbers(text);
  return values.every((value) => value >= 0) && values.some((value) => value > 0)
    ? values
    : fail('Give numbers from 0 on, one per class, background first.');
}

/** Numbers separated by commas. */
export function numbers(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  return values.every(Number.isFinite) ? values : fail('Give numbers separated by commas, such as 1,2,3.');
}

/** One per level of the network. */
export function features(text: string): number[] {
  const values = numbers(text);
  return values.every((value) => Number.isInteger(value) && value > 0)
    ? values
    : fail('Give channels per level, such as 16,32,64,128.');
}

/** x,y,z per level, such as 2,2,1/2,2,2; one number for all three axes. */
export function triples(text: string): Size3[] {
  return text.split('/').map((part) => {
    const values = part.split(',').map((value) => (value.trim() === '' ? NaN : Number(value)));
    const all = values.length === 1 ? [values[0]!, values[0]!, values[0]!] : values;
    return all.length === 3 && all.every(Number.isInteger)
      ? (all as unknown as Size3)
      : fail(
          'Give x,y,z per level, levels separated by slashes, such as 2,2,1/2,2,2; or one number for all axes.',
        );
  });
}

/** Blocks per level. */
export function counts(text: string): number[] {
  const values = numbers(text);
  return values.every((value) => Number.isInteger(value) && value > 0)
    ? values
    : fail('Give whole numbers from 1 on per level, such as 1,3,4,6.');
}

/** Names of classes, background first. */
export function names(text: string): string[] {
  const values = text.split(',').map((part) => part.trim());
  return values.length >= 2 && new Set(values).size === values.length && !values.includes('')
    ? values
    : fail('Give at least two different names separated by commas, such as background,liver.');
}

/** x,y,z in voxels. */
export function size(text: string): Size3 {
  const values = text.split(/[,x]/).map(Number);
  return values.length === 3 && values.every((value) => Number.isInteger(value) && value > 0)
    ? (values as unknown as Size3)
    : fail('Give three whole numbers x,y,z, such as 128,128,64.');
}

/** Axes to mirror, such as x,y. */
export function mirrorAxes(text: string): Axis[] {
  const names = text.split(',').map((name) => name.trim());
  return names.every((name): name is Axis => /^[xyz]$/.test(name))
    ? names
    : fail('Give some of x, y and z, separated by commas.');
}

/** Millimetres along x, y, z; one number for all three. */
export function spacing(text: string): Size3 {
  const values = numbers(text);
  const all = values.length === 1 ? [values[0]!, values[0]!, values[0]!] : values;
  return all.length === 3 && all.every((value) => value > 0)
    ? (all as unknown as Size3)
    : fail('Give millimetres along x,y,z, such as 0.8,0.8,3, or one number for all.');
}

/** Shares of training, validation and test, given as fractions or as percentages. */
export function fractions(text: string): readonly [number, number, number] {
  const values = text.split(/[,/]/).map((part) => (part.trim() === '' ? NaN : Number(part)));
  const sum = values.reduce((a, b) => a + b, 0);
  const total = [1, 100].find((whole) => Math.abs(sum - whole) < 1e-6 * whole);
  const areShares = values.length === 3 && values.every((value) => value >= 0);
  if (total === undefined || !areShares)
    return fail(
      `Shares must be three numbers that add up to 100 (or 1), such as 70,15,15; ` +
        (areShares ? `${text} add up to ${sum}.` : `got "${text}".`),
    );
  return values.map((value) => value / total) as unknown as readonly [number, number, number];
}

/** Shares, or the name of a split.json; as it is written. */
export function split(text: string): string {
  if (!isSplitFile(text)) fractions(text);
  return text;
}

export const isSplitFile = (split: string): boolean => /\.json$/i.test(split);

/** k/n: fold k (from 1) of n. */
export function fold(text: string): { readonly fold: number; readonly folds: number } {
  const [, k, n] = /^(\d+)\/(\d+)$/.exec(text.trim()) ?? [];
  const [index, folds] = [Number(k), Number(n)];
  return folds >= 2 && index >= 1 && index <= folds
    ? { fold: index - 1, folds }
    : fail('Give the fold and their number, such as 1/5.');
}

/** k/n: share k (from 1) of n; or auto. */
export function shard(text: string): Shard | 'auto' {
  if (text.trim() === 'auto') return 'auto';
  const [, k, n] = /^(\d{1,9})\/(\d{1,9})$/.exec(text.trim()) ?? [];
  const [shard, shards] = [Number(k), Number(n)];
  return shard >= 1 && shard <= shards
    ? { shard, shards }
    : fail('Give the share, counted from 1, and their number, such as 3/40; or auto.');
}

/** all, or numbers of folds from 0 on. */
export function folds(text: string): string[] {
  const values = text.split(',').map((part) => part.trim());
  const isList =
    values.every((value) => /^(0|[1-9]\d?)$/.test(value)) && new Set(values).size === values.length;
  return isList || text.trim() === 'all' ? values : fail('Give all, or numbers of folds such as 0,3.');
}

/** 128MiB, 2GiB, 500MB or plain bytes. */
export function bytes(text: string): number {
  const [, figure, unit = 'B'] = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?\s*$/i.exec(text) ?? [];
  if (figure === undefined) return fail('Give bytes, such as 134217728 or 128MiB.');
  const power = 'BKMGT'.indexOf(unit[0]!.toUpperCase());
  return Math.round(Number(figure) * (/i/i.test(unit) ? 1024 : 1000) ** power);
}

/** As `bytes`, above 0. */
export const memory = (text: string): number => bytes(text) || fail('Give bytes above 0, such as 4GiB.');

/** A number of bytes as it is typed: in the largest unit of which it is a whole number. */
export function typedBytes(value: number): string {
  const power = [4, 3, 2, 1].find((unit) => value >= 1024 ** unit && value % 1024 ** unit === 0) ?? 0;
  return `${value / 1024 ** power}${['', 'KiB', 'MiB', 'GiB', 'TiB'][power]!}`;
}

/** `auto`, `none`, or names separated by commas. */
export function concessions(text: string): 'auto' | Concession[] {
  if (text === 'auto') return 'auto';
  const names = text === 'none' ? [] : text.split(',').map((name) => name.trim());
  const known = names.filter((name): name is Concession =>
    (allConcessions as readonly string[]).includes(name),
  );
  return known.length === names.length
    ? known
    : fail(`Give auto, none, or any of ${allConcessions.join(', ')}, separated by commas.`);
}

/** A regular expression with one group. */
export function pattern(text: string): RegExp {
  let found: RegExp;
  try {
    found = new RegExp(text);
  } catch (error) {
    return fail((error as Error).message);
  }
  return new RegExp(`${text}|`).exec('')!.length === 2
    ? found
    : fail('Give a regular expression with one group, such as "Case_(\\d+)".');
}
