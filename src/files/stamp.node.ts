/** What a file is, as far as the disk tells without reading it. */
import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';

/** Changes when the file is replaced or written to, also by one of its size and time. */
export const stampOf = ({ dev, ino, size, mtimeMs }: Stats): string => [dev, ino, size, mtimeMs].join(' ');

/** Of the file at a path; empty where there is none. */
export const stampAt = (path: string | URL): Promise<string> => stat(path).then(stampOf, () => '');
