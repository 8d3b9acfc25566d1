/** How figures and classes are written for people: in reports, pictures, on terminals and in messages. */

/** Fixed digits; a dash where the value is not defined. */
export const digits = (value: number | undefined, count = 3): string =>
  value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(count).replace('-', '−');

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/**
 * Bytes with a binary unit and three digits.
 * @example
 * ```js
 * console.log(formatBytes(3 * 2 ** 30)); // 3.00 GiB
 * ```
 */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(value >= 1000 ? 4 : 3)} ${units[unit]}`;
}

/** 820 ms, 4.2 s, 42 s, 3:05, 1:02:03 */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** The name of a class, or its number where it has none. */
export const className = (labels: readonly string[], label: number): string =>
  labels[label] ?? `class ${label}`;
