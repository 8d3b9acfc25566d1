/**
 * Animated GIF files from pictures, with one palette for all frames, by gifenc.
 */
import * as module from 'gifenc';
import type { Gifenc } from 'gifenc';
import { InvalidOption } from '../errors.ts';
import type { Picture } from './raster.ts';

// Bundlers see gifenc's ES module with named exports, Node its CommonJS file as one default export.
const gifenc = (module.GIFEncoder && module.quantize ? module : module.default) as Gifenc;

/** At most this many pixels are looked at to choose the palette. */
const paletteSample = 1 << 18;

/** Pixels taken evenly from all frames. */
function sample(frames: readonly Picture[]): Uint8Array {
  const total = frames.reduce((sum, frame) => sum + frame.width * frame.height, 0);
  const step = Math.max(1, Math.ceil(total / paletteSample));
  const words = frames.map(
    (frame) => new Uint32Array(frame.data.buffer, frame.data.byteOffset, frame.data.length / 4),
  );
  const picked = new Uint32Array(words.reduce((sum, frame) => sum + Math.ceil(frame.length / step), 0));
  let at = 0;
  for (const frame of words)
    for (let pixel = 0; pixel < frame.length; pixel += step) picked[at++] = frame[pixel]!;
  return new Uint8Array(picked.buffer);
}

/**
 * The bytes of a GIF that shows the frames in a loop.
 * @throws InvalidOption without frames or with frames of different size
 */
export function encodeGif(
  frames: readonly Picture[],
  options: { /** Milliseconds per frame. Default 120. */ readonly delay?: number } = {},
): Uint8Array<ArrayBuffer> {
  const first = frames[0];
  if (first === undefined)
    throw new InvalidOption('A GIF needs at least one frame, got none: pass pictures.');
  const palette = gifenc.quantize(sample(frames), 256);
  const gif = gifenc.GIFEncoder();
  for (const [index, frame] of frames.entries()) {
    if (frame.width !== first.width || frame.height !== first.height)
      throw new InvalidOption(
        `Frame ${index} has ${frame.width} x ${frame.height} pixels, the first ${first.width} x ${first.height}: ` +
          'draw all frames at one size.',
      );
    const pixels = gifenc.applyPalette(frame.data, palette);
    gif.writeFrame(pixels, frame.width, frame.height, {
      delay: options.delay ?? 120,
      ...(index === 0 ? { palette, repeat: 0 } : {}),
    });
  }
  gif.finish();
  return gif.bytes();
}
