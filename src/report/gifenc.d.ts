/** Types of the part of gifenc 1.0 that gif.ts uses; the package has none of its own. */
declare module 'gifenc' {
  export type Palette = number[][];
  export interface Encoder {
    writeFrame(
      index: Uint8Array,
      width: number,
      height: number,
      options: { palette?: Palette; delay?: number; repeat?: number },
    ): void;
    finish(): void;
    bytes(): Uint8Array<ArrayBuffer>;
  }
  export interface Gifenc {
    GIFEncoder(): Encoder;
    quantize(rgba: Uint8Array, maxColors: number, options?: { format?: string }): Palette;
    applyPalette(rgba: Uint8Array, palette: Palette, format?: string): Uint8Array;
  }
  export const GIFEncoder: Gifenc['GIFEncoder'] | undefined;
  export const quantize: Gifenc['quantize'] | undefined;
  export const applyPalette: Gifenc['applyPalette'] | undefined;
  const whole: unknown;
  export default whole;
}
