export type Size3 = readonly [x: number, y: number, z: number];
export interface PreparedCase {
  readonly id: string;
  readonly image: Float32Array;
  readonly label?: Uint8Array;
  readonly shape: Size3;
  readonly channels: number;
  readonly spacing: Size3;
}
