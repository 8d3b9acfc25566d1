/** SHA-256 as every platform has it. */
import { UnsupportedDevice } from './errors.ts';

/** @throws UnsupportedDevice on a page that is no secure context, where there is no WebGPU either */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const { subtle } = crypto as { subtle?: SubtleCrypto };
  if (!subtle)
    throw new UnsupportedDevice(
      'this page has neither hashes nor WebGPU: open it over HTTPS or from localhost',
    );
  return new Uint8Array(await subtle.digest('SHA-256', bytes));
}

export const hexadecimal = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
