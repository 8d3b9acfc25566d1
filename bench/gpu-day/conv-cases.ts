/** Convolutions of a network's levels, `16:256,256,128;32:128,128,64`: channels in and out, and the volume. */
import type { Size3 } from '../../src/size.ts';
import { numbers } from './tell.ts';

export const convCases = (list: string): { channels: number; size: Size3 }[] =>
  list.split(';').map((text) => {
    const [channels = '', size = ''] = text.split(':');
    return { channels: Number(channels), size: numbers(size) as unknown as Size3 };
  });
