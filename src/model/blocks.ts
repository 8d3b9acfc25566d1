/** What topologies have in common. */
import type { Size3 } from '../size.ts';

export const ones: Size3 = [1, 1, 1];

export const isOnes = (stride: Size3): boolean => stride.every((n) => n === 1);

/** One after the other: 1 to the count. */
export const numbered = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
