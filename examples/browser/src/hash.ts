/** SHA-256, and bytes in hexadecimal digits. @throws Error on a page that browsers keep this from */
export async function sha256(data: BufferSource): Promise<Uint8Array<ArrayBuffer>> {
  // The types promise it everywhere.
  const subtle = crypto.subtle as SubtleCrypto | undefined;
  if (!subtle)
    throw new Error(
      'what is drawn is kept by what scans hold, which browsers work out on pages at https:// or on localhost only: open this page at such an address',
    );
  return new Uint8Array(await subtle.digest('SHA-256', data));
}

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
