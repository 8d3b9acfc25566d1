/**
 * Pelvis phantoms: generated volumes with the study's six classes, smooth anatomy that varies by
 * subject, a T2-like intensity model, a bias field and Rician noise. Anatomy is defined on the cube
 * [-1, 1]^3 that fills the field of view (x to the right, y to the front, z up), so that any shape
 * and spacing show the same subject.
 */
import * as v from 'valibot';
import { assertOptions } from '../options.ts';
import { numberAbove, numberFrom, size3, triple, wholeNumber } from '../schema.ts';
import { random, type Random } from './random.ts';

/** Along x, y and z. */
type Triple = [number, number, number];

/** Names of the label values 0 to 5. */
export const phantomLabels = ['background', 'body', 'bones', 'bladder', 'rectum', 'prostate'] as const;

/** What makes a phantom; the same options and subject give the same bits. */
export interface PhantomOptions {
  /** Voxels along x, y, z. Default 32 x 32 x 16. */
  readonly shape?: Readonly<Triple>;
  /** Millimetres per voxel along x, y, z. Default: a field of view of 400 x 400 x 200 mm. */
  readonly spacing?: Readonly<Triple>;
  /** Default 0. */
  readonly seed?: number;
  /** Standard deviation of the complex noise, where muscle is 0.3 and fluid 1. Default 0.05. */
  readonly noise?: number;
}

const phantomEntries = {
  shape: v.optional(size3),
  spacing: v.optional(triple(numberAbove(0), 'millimetres along x, y, z')),
  seed: v.optional(wholeNumber()),
  noise: v.optional(numberFrom(0)),
} satisfies Record<keyof PhantomOptions, unknown>;

/** A generated volume with its truth; both arrays have x fastest. */
export interface Phantom {
  /** [z][y][x] */
  readonly image: Float32Array;
  /** [z][y][x], from 0 to 5; their names are `phantomLabels`. */
  readonly labels: Uint8Array;
  /** Voxels along x, y, z. */
  readonly shape: Triple;
  /** Millimetres along x, y, z. */
  readonly spacing: Triple;
  /** Voxel to millimetres, 4 x 4 row-major, RAS; the field of view is centred on the origin. */
  readonly affine: number[];
}

/** One tissue, painted over those before it. */
interface Structure {
  readonly label: number;
  /** Depth below the surface in units of the cube, negative outside. */
  depth(x: number, y: number, z: number): number;
  /** Signal at a depth and a place. */
  signal(depth: number, x: number, y: number, z: number): number;
}

/** Rotation from three angles given as t = tan(angle / 2): exact arithmetic only, no sine. */
function rotation(angles: Readonly<Triple>): (x: number, y: number, z: number) => Triple {
  const [cx, cy, cz] = angles.map((t) => (1 - t * t) / (1 + t * t)) as Triple;
  const [sx, sy, sz] = angles.map((t) => (2 * t) / (1 + t * t)) as Triple;
  return (x, y, z) => {
    const [x1, y1] = [cz * x - sz * y, sz * x + cz * y];
    const [x2, z1] = [cy * x1 + sy * z, cy * z - sy * x1];
    return [x2, cx * y1 - sx * z1, sx * y1 + cx * z1];
  };
}

/** An ellipsoid, turned and dented by a random smooth function of the direction; returns its depth. */
function blob(r: Random, centre: Triple, radii: Triple, dent = 0.15, turn = 0.15): Structure['depth'] {
  const rotate = rotation([r.normal(0, turn), r.normal(0, turn), r.normal(0, turn)]);
  const a = Array.from({ length: 5 }, () => r.uniform(-dent, dent));
  const least = Math.min(...radii);
  return (x, y, z) => {
    const [u, v, w] = rotate(x - centre[0], y - centre[1], z - centre[2]);
    const [p, q, s] = [u / radii[0], v / radii[1], w / radii[2]];
    const square = p * p + q * q + s * s;
    if (square === 0) return least;
    const bumps = a[0]! * p * q + a[1]! * q * s + a[2]! * p * s + a[3]! * (p * p - q * q) + a[4]! * s * s;
    const radius = Math.sqrt(square);
    return (1 + bumps / square - radius) * least;
  };
}

/** Smooth noise: a lattice of uniform numbers in [0, 1) over [-1, 1]^3, interpolated with smooth steps. */
function smoothNoise(r: Random, cells: number): (x: number, y: number, z: number) => number {
  const side = cells + 1;
  const lattice = Float64Array.from({ length: side ** 3 }, () => r.uniform());
  const place = (value: number): [cell: number, weight: number] => {
    const scaled = Math.min(Math.max(((value + 1) / 2) * cells, 0), cells - 1e-9);
    const t = scaled - Math.floor(scaled);
    return [Math.floor(scaled), t * t * (3 - 2 * t)];
  };
  return (x, y, z) => {
    const [[i, u], [j, v], [k, w]] = [place(x), place(y), place(z)];
    let sum = 0;
    for (let corner = 0; corner < 8; corner++) {
      const [a, b, c] = [corner & 1, (corner >> 1) & 1, corner >> 2];
      const weight = (a ? u : 1 - u) * (b ? v : 1 - v) * (c ? w : 1 - w);
      sum += weight * lattice[((k + c) * side + j + b) * side + i + a]!;
    }
    return sum;
  };
}

/** The subject's tissues in the order they are painted. */
function anatomy(r: Random): Structure[] {
  // Where the patient lies, and how large.
  const [ox, oy, oz] = [r.uniform(-0.12, 0.12), r.uniform(-0.15, 0.15), r.uniform(-0.22, 0.22)];
  const size = r.uniform(0.88, 1.1);
  const at = (x: number, y: number, z: number, wander: number): Triple => [
    ox + size * x + r.normal(0, wander),
    oy + size * y + r.normal(0, wander),
    oz + size * z + r.normal(0, wander),
  ];
  const sized = (x: number, y: number, z: number, vary = 0.15): Triple =>
    [x, y, z].map((radius) => radius * size * r.uniform(1 - vary, 1 + vary)) as Triple;

  const fat = r.uniform(0.62, 0.78);
  const muscle = r.uniform(0.22, 0.29);
  const marrow = r.uniform(0.5, 0.62);
  const urine = r.uniform(0.85, 1.1);
  const gland = r.uniform(0.5, 0.62);
  const wall = r.uniform(0.44, 0.56);
  const content = r.uniform(0.05, 0.16);

  const [bodyX, bodyY] = [0.88 * size * r.uniform(0.94, 1.04), 0.66 * size * r.uniform(0.92, 1.06)];
  const waist = r.uniform(-0.06, 0.06);
  const rim = r.uniform(0.08, 0.16);
  const texture = smoothNoise(r, 5);
  const body: Structure = {
    label: 1,
    depth(x, y, z) {
      const [u, v] = [(x - ox) / bodyX, (y - oy) / bodyY];
      return (1 + waist * z - Math.sqrt(u * u + v * v)) * bodyY;
    },
    signal(depth, x, y, z) {
      if (depth < rim) return fat;
      const t = Math.min(Math.max((texture(x, y, z) - 0.52) / 0.3, 0), 1);
      return muscle + (fat - muscle) * t * t;
    },
  };

  const bone = (centre: Triple, radii: Triple): Structure => ({
    label: 2,
    depth: blob(r, centre, radii),
    signal: (depth) => (depth < 0.1 ? 0.12 : marrow), // dark cortex, bright marrow
  });
  const bones = [-1, 1].flatMap((side) => [
    bone(at(side * 0.56, 0.02, -0.1, 0.03), sized(0.22, 0.22, 0.4)), // femoral heads
    bone(at(side * 0.4, 0.06, 0.75, 0.03), sized(0.17, 0.3, 0.5)), // iliac bones
  ]);
  bones.push(bone(at(0, -0.46, 0.7, 0.03), sized(0.26, 0.17, 0.5))); // sacrum
  bones.push(bone(at(0, 0.4, -0.75, 0.03), sized(0.25, 0.16, 0.32))); // pubic bones

  const bladder: Structure = {
    label: 3,
    depth: blob(r, at(0, 0.2, 0.46, 0.06), sized(0.28, 0.22, 0.36, 0.2)),
    signal: (depth) => (depth < 0.03 ? muscle : urine),
  };

  const prostateCentre = at(0, 0.1, -0.28, 0.06);
  const prostate: Structure = {
    label: 5,
    depth: blob(r, prostateCentre, sized(0.25, 0.21, 0.33, 0.15)),
    signal: (depth) => (depth < 0.06 ? gland + 0.1 : gland),
  };

  // The rectum: a tube behind the prostate, bent in both directions, wider in the middle.
  const [rx, ry, rz] = [prostateCentre[0] + r.normal(0, 0.07), prostateCentre[1] - 0.38 * size, oz];
  const [bendX, bendY, lean] = [r.normal(0, 0.1), r.uniform(-0.16, 0.02), r.normal(0, 0.08)];
  const tube = r.uniform(0.14, 0.19) * size;
  const bulge = r.uniform(0.02, 0.07);
  const bottom = rz - r.uniform(0.65, 0.95);
  const rectum: Structure = {
    label: 4,
    depth(x, y, z) {
      const h = z - rz;
      const dx = x - rx - lean * h - bendX * h * h;
      const dy = y - ry - bendY * h * h;
      const radius = tube + bulge * (1 - 4 * h * h);
      return Math.min(Math.max(radius, 0.1) - Math.sqrt(dx * dx + dy * dy), (z - bottom) / 2);
    },
    signal: (depth) => (depth < 0.1 ? wall : content),
  };
  return [body, ...bones, rectum, prostate, bladder];
}

/**
 * The phantom of one subject (a whole number from 0).
 * @throws InvalidOption for a subject or options out of range, and for unknown options
 * @example
 * ```js
 * const { image, labels, shape, affine } = phantom(0, { shape: [16, 16, 8] });
 * ```
 */
export function phantom(subject: number, options: PhantomOptions = {}): Phantom {
  assertOptions('phantom', phantomEntries, options);
  assertOptions('phantom', { subject: wholeNumber() }, { subject });
  const shape: Triple = [...(options.shape ?? [32, 32, 16])];
  const [nx, ny, nz] = shape;
  const spacing: Triple = [...(options.spacing ?? ([400 / nx, 400 / ny, 200 / nz] as const))];
  const { seed = 0, noise = 0.05 } = options;

  const r = random(seed, 'phantom', subject);
  const structures = anatomy(r);
  // Bias field: a random quadratic around 1.
  const b = Array.from({ length: 6 }, () => r.uniform(-0.13, 0.13));
  const gain = r.uniform(200, 900);
  const noises = random(seed, 'phantom noise', subject);

  const image = new Float32Array(nx * ny * nz);
  const labels = new Uint8Array(nx * ny * nz);
  const softness = 0.5 / Math.max(nx, ny, nz); // half a voxel: edges mix the tissues on both sides
  for (let k = 0, voxel = 0; k < nz; k++) {
    const z = (2 * k + 1) / nz - 1;
    for (let j = 0; j < ny; j++) {
      const y = (2 * j + 1) / ny - 1;
      for (let i = 0; i < nx; i++, voxel++) {
        const x = (2 * i + 1) / nx - 1;
        let signal = 0;
        for (const structure of structures) {
          const depth = structure.depth(x, y, z);
          if (depth <= -softness) continue;
          const cover = Math.min((depth + softness) / (2 * softness), 1);
          signal += cover * (structure.signal(depth, x, y, z) - signal);
          if (depth > 0) labels[voxel] = structure.label;
        }
        const bias = 1 + b[0]! * x + b[1]! * y + b[2]! * z + b[3]! * x * x + b[4]! * y * y + b[5]! * x * y;
        const real = signal * bias + noises.normal(0, noise);
        const imaginary = noises.normal(0, noise);
        image[voxel] = gain * Math.sqrt(real * real + imaginary * imaginary);
      }
    }
  }
  return { image, labels, shape, spacing, affine: centredAffine(shape, spacing) };
}

/**
 * `count` subjects, numbered from `first`. @throws InvalidOption as `phantom`
 * @example
 * ```js
 * const scans = phantoms(3, { shape: [16, 16, 8], first: 10 });
 * ```
 */
export function phantoms(
  count: number,
  options: PhantomOptions & { readonly first?: number } = {},
): Phantom[] {
  assertOptions('phantoms', { ...phantomEntries, first: v.optional(wholeNumber()) }, options);
  assertOptions('phantoms', { count: wholeNumber() }, { count });
  const { first = 0, ...each } = options;
  return Array.from({ length: count }, (_, index) => phantom(first + index, each));
}

function centredAffine(shape: Triple, spacing: Triple): number[] {
  const [dx, dy, dz] = spacing;
  const [x, y, z] = shape.map((n, axis) => -((n - 1) / 2) * spacing[axis]!) as Triple;
  return [dx, 0, 0, x, 0, dy, 0, y, 0, 0, dz, z, 0, 0, 0, 1];
}
