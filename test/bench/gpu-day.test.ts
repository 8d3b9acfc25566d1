/** The day with a GPU: its parts fit the time and exist, and neither failures nor the end of time lose what was found. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { callSeconds, day, partsOf, rehearsal, startSeconds } from '../../bench/gpu-day/parts.ts';
import { readDay, type DayResult, type PartResult } from '../../bench/gpu-day/results.ts';
import { runPart } from '../../bench/gpu-day/run-part.ts';
import { document, merged } from '../../bench/gpu-day/table.ts';

const folder = mkdtempSync(join(tmpdir(), 'gpu-day-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
/** A machine is lent for fifteen minutes; one is for what nobody thought of. */
const mostSeconds = 14 * 60;
const parts = partsOf(day, 'FOLDER');
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

test('the parts and both calls fit into the time', () => {
  expect(startSeconds + sum(parts.map(({ seconds }) => seconds))).toBeLessThanOrEqual(mostSeconds);
  expect(startSeconds + sum(Object.values(callSeconds))).toBeLessThanOrEqual(mostSeconds);
});

test('every script is there and packed, every command of the command line exists', () => {
  const packed = readFileSync('bench/gpu-day/pack.ts', 'utf8');
  for (const { command } of [...parts, ...partsOf(rehearsal, 'FOLDER')]) {
    const [script = '', first = ''] = command;
    if (script === 'dist/cli.js') expect(existsSync(`src/cli/commands/${first}.ts`), first).toBe(true);
    else {
      expect(existsSync(`bench/gpu-day/${script}.ts`), script).toBe(true);
      expect(packed).toContain(`'${script}'`);
    }
  }
});

test('float16 is measured without matrix units; all that needs these comes after one kernel on them', () => {
  const names = parts.map(({ name }) => name);
  for (const [index, { needs, command }] of parts.entries()) {
    if (needs === undefined) continue;
    expect(names.indexOf(needs)).toBeGreaterThanOrEqual(0);
    expect(names.indexOf(needs)).toBeLessThan(index);
    expect(command).toContain('--matrix');
  }
  const free = parts.filter(({ command }) => !command.includes('--matrix'));
  expect(free.some(({ command }) => command.includes('f16'))).toBe(true);
  const others = parts.filter(({ command, needs }) => command.includes('--matrix') && !needs);
  expect(others.map(({ command }) => command)).toEqual([['kernels', '--matrix', '--most', '1']]);
});

test('its README has every part with its seconds', () => {
  const rows = readFileSync('bench/gpu-day/README.md', 'utf8').matchAll(/^\| (`.+?`) +\| +([\d, ]+?) +\|/gm);
  const told = [...rows].flatMap(([, names = '', seconds = '']) => {
    const each = seconds.split(', ').map(Number);
    return names.split(', ').map((name, index) => [name.replaceAll('`', ''), each[index]]);
  });
  expect(Object.fromEntries(told)).toEqual(
    Object.fromEntries(parts.map(({ name, seconds }) => [name, seconds])),
  );
});

async function ran(code: string, seconds: number) {
  const script = join(folder, 'part.mjs');
  writeFileSync(script, code);
  const found: unknown[] = [];
  const lines: string[] = [];
  const ended = await runPart([script], {
    env: process.env,
    seconds,
    onFound: (news) => found.push(news),
    onLine: (line) => lines.push(line),
  });
  return { ...ended, found, lines };
}

test('keeps what a part told before it failed, and what it said', async () => {
  const ended = await ran(
    `console.log('{"ms":1}'); console.log('{no JSON'); throw new Error('the device is lost');`,
    300,
  );
  expect(ended).toMatchObject({ status: 'failed', found: [{ ms: 1 }] });
  expect(ended.lines).toContain('{no JSON');
  expect(ended.lines.join('\n')).toContain('the device is lost');
});

test('ends a part that hangs', async () => {
  const ended = await ran('setInterval(() => {}, 1000);', 0.1);
  expect(ended).toMatchObject({ status: 'timeout' });
});

const part = (name: string, status: PartResult['status'], found = {}): PartResult => ({
  ...{ name, status, found, command: `node ${name}.mjs`, seconds: 1, events: [] },
});
const dayOf = (...all: PartResult[]): DayResult => ({
  ...{ date: '2026-01-02T03:04:05.000Z', version: '1', command: 'day.mjs', rehearsal: false },
  ...{ machine: { gpu: 'NVIDIA H0, 1, 2 MiB' }, vulkanDriver: undefined, parts: all },
});

test('of two calls a part counts as it was done, else as it was last tried', () => {
  const first = dayOf(
    part('a', 'done', { n: 1 }),
    part('b', 'timeout'),
    part('c', 'failed', { n: 1 }),
    part('d', 'left'),
  );
  const second = dayOf(part('a', 'failed'), part('b', 'done'), part('c', 'left'), part('d', 'failed'));
  const statuses = [...merged([first, second]).values()].map(({ name, status }) => `${name} ${status}`);
  expect(statuses).toEqual(['a done', 'b done', 'c failed', 'd failed']);
});

test('without a GPU and without time it ends in order: two files, every part left out, and a table', () => {
  const out = join(folder, 'out');
  const script = resolve('bench/gpu-day/day.ts');
  const args = ['--import', import.meta.resolve('tsx'), script, '--out', out, '--seconds', '0'];
  // In a folder without .gpu, so that no adapter answers.
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout).toContain('NO GPU FOR WEBGPU');
  expect(readdirSync(out).sort()).toEqual(['log.txt', 'results.json']);
  const result = readDay(join(out, 'results.json'));
  const others = result.parts.filter(({ name }) => name !== 'adapter');
  expect(others.map(({ name }) => name)).toEqual(parts.slice(1).map(({ name }) => name));
  expect(result.parts.every((each) => each.reason !== undefined)).toBe(true);
  expect(new Set(others.map((each) => each.status))).toEqual(new Set(['left']));
  expect(document([result])).toContain('| hippocampus');
});
