/** SHA-256 as every platform has it. */
import { sha256 as piecewise } from '@noble/hashes/sha2.js';
import { UnsupportedDevice } from './errors.ts';

type Digest = (bytes: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>;

let digest: Digest = async (bytes) => {
  const { subtle } = crypto as { subtle?: SubtleCrypto };
  if (!subtle)
    throw new UnsupportedDevice(
      'this page has neither hashes nor WebGPU: open it over HTTPS or from localhost',
    );
  return new Uint8Array(await subtle.digest('SHA-256', bytes));
};

/** Hashes bytes that come piece by piece. */
export interface Hasher {
  update(bytes: Uint8Array): unknown;
  /** Of all that came. */
  digest(): Uint8Array;
}

/** Web Crypto takes bytes only as a whole, and copies them. */
let makeHasher = (): Hasher => piecewise.create();

/** Replaces the platform's own, of which Web Crypto takes no more than 256 MiB in Node. */
export function setHash(replacement: { readonly digest: Digest; readonly make: () => Hasher }): void {
  digest = replacement.digest;
  makeHasher = replacement.make;
}

/** @throws UnsupportedDevice on a page that is no secure context, where there is no WebGPU either */
export const sha256: Digest = (bytes) => digest(bytes);

/** Of bytes that come piece by piece: no more of them is in memory than one. */
export const sha256Hasher = (): Hasher => makeHasher();

export const hexadecimal = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
