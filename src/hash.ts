/** SHA-256 as every platform has it. */
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

/** Replaces the platform's own, which in Node takes no more than 256 MiB. */
export function setDigest(replacement: Digest): void {
  digest = replacement;
}

/** @throws UnsupportedDevice on a page that is no secure context, where there is no WebGPU either */
export const sha256: Digest = (bytes) => digest(bytes);

export const hexadecimal = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
