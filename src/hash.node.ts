/** SHA-256 of any length in Node, whose Web Crypto ends at 2³¹ bits. Importing this module puts it in place. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { setHash } from './hash.ts';

/** Bytes that are hashed in one go. */
const part = 2 ** 26;

setHash({
  async digest(bytes) {
    const hash = createHash('sha256');
    for (let at = 0; at < bytes.length; at += part) {
      if (at > 0) await setImmediate(); // others get their turn
      hash.update(bytes.subarray(at, at + part));
    }
    return new Uint8Array(hash.digest());
  },
  make: () => createHash('sha256'),
});
