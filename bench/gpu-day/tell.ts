/** How a part of the day hands on what it found: as lines of JSON, so that nothing is lost when it is ended. */
import { execFileSync } from 'node:child_process';
import { formatBytes } from '../../src/format.ts';

/** Adds to the part's result. `line` is what the day prints of it. */
export function tell(found: Readonly<Record<string, unknown>>): void {
  console.log(
    JSON.stringify(found, (_, value: unknown) => (typeof value === 'number' ? short(value) : value)),
  );
}

/** Nine digits, which are all of a float32; whole numbers as they are. */
const short = (value: number): number =>
  Number.isInteger(value) || !Number.isFinite(value) ? value : Number(value.toPrecision(9));

/** Bytes of the first GPU's memory that are taken by all its processes; undefined where NVIDIA's tool is missing. */
export function takenBytes(): number | undefined {
  try {
    const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits'];
    const text = execFileSync('nvidia-smi', query, { encoding: 'utf8', timeout: 5000, stdio: 'pipe' });
    return Number(text.split('\n')[0]) * 2 ** 20;
  } catch {
    return undefined;
  }
}

export const bytesText = (bytes: number | undefined): string =>
  bytes === undefined ? '?' : formatBytes(bytes);

export const numbers = (list: string): number[] => list.split(',').map(Number);
