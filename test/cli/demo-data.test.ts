/** The demo on data of one's own: a folder, or an archive at an address, here of a server in this process. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import { cli, temporaryFolder } from './support.ts';

const small = ['--subjects', '5', '--features', '4,8', '--epochs', '1', '--no-postprocess'];
const archives = new Map<string, Uint8Array>();
const asked: string[] = [];
const server = createServer(({ url = '' }, response) => {
  asked.push(url);
  const archive = archives.get(url);
  response.writeHead(archive ? 200 : 404).end(archive);
});
let address: string;
let data: string;

beforeAll(async () => {
  data = join(await temporaryFolder(), 'Task99_Phantoms');
  for (const part of ['imagesTr', 'labelsTr']) await mkdir(join(data, part), { recursive: true });
  const training = [];
  for (let subject = 0; subject < 5; subject++) {
    const { image, labels, shape, affine } = phantom(subject, { shape: [8, 8, 8] });
    const pair = { image: `./imagesTr/p${subject}.nii.gz`, label: `./labelsTr/p${subject}.nii.gz` };
    await writeFile(join(data, pair.image), await writeNifti({ data: image, shape, affine }));
    await writeFile(join(data, pair.label), await writeNifti({ data: labels, shape, affine }));
    training.push(pair);
  }
  const names = ['background', 'body', 'bones', 'bladder', 'rectum', 'prostate'];
  const labels = Object.fromEntries(names.map((name, value) => [value, name]));
  const json = { name: 'phantoms', modality: { 0: 'MR' }, labels, training, test: [] };
  await writeFile(join(data, 'dataset.json'), JSON.stringify(json));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => server.close());

/** What the system's tar makes of a folder. */
const tar = (folder: string, ...options: string[]): Uint8Array =>
  execFileSync('tar', [
    '--format=ustar',
    ...options,
    '-C',
    join(folder, '..'),
    '-cf',
    '-',
    'Task99_Phantoms',
  ]);

test('trains on a folder, and on the same data from an address, with the same weights', async () => {
  const out = [await temporaryFolder(), await temporaryFolder()] as const;
  archives.set('/phantoms.tar.gz', gzipSync(tar(data)));
  const places = [data, `${address}/phantoms.tar.gz`];
  for (const [i, place] of places.entries()) {
    const ran = await cli(['demo', '--dataset', place, '--out', out[i]!, ...small]);
    expect(ran.err).toMatch(/3 cases to train on/);
    expect(ran.exitCode).toBe(0);
  }
  const losses = out.map((folder) => readFileSync(join(folder, 'history.csv'), 'utf8').split('\n')[1]!);
  const [first, second] = losses.map((line) => line.split(',').slice(0, 2));
  expect(first).toEqual(second);
  // Once more: what was fetched is there.
  const before = asked.length;
  const again = await cli(['demo', '--dataset', places[1]!, '--out', out[1], ...small]);
  expect(again.err).toMatch(/holds a training/);
  expect(asked).toHaveLength(before);
});

test('a name that is no folder says where data is to be had, and fetches nothing', async () => {
  const before = asked.length;
  const ran = await cli(['demo', '--dataset', 'hippocampus-mini', '--out', await temporaryFolder()]);
  expect(ran.exitCode).toBe(2);
  expect(ran.err).toMatch(/no folder hippocampus-mini.*medicaldecathlon\.com.*CC BY-SA 4\.0/s);
  expect(asked).toHaveLength(before);
});

test('archives that lead out of their folder, hold no data set, or are not there write nothing', async () => {
  const outside = ['-P', '-C', data, '-cf', '-', '../Task99_Phantoms'];
  archives.set('/outside.tar', execFileSync('tar', ['--format=ustar', ...outside]));
  archives.set('/none.tar', tar(data, '--exclude=dataset.json'));
  archives.set('/cut.tar', tar(data).subarray(0, 1300));
  archives.set('/cut.tar.gz', gzipSync(tar(data)).subarray(0, 5000));
  archives.set('/text.tar', new TextEncoder().encode('<html>'));
  const refusals = {
    '/outside.tar': /leads out of its folder/,
    '/none.tar': /holds 0 files dataset\.json/,
    '/cut.tar': /the archive is cut off/,
    '/cut.tar.gz': /no whole gzip file/,
    '/text.tar': /holds 0 files dataset\.json/,
    '/nothing.tar': /the server answers 404/,
  };
  for (const [path, message] of Object.entries(refusals)) {
    const out = join(await temporaryFolder(), 'out');
    const ran = await cli(['demo', '--dataset', `${address}${path}`, '--out', out, ...small]);
    expect(ran.err, path).toMatch(message);
    expect([1, 2]).toContain(ran.exitCode);
    expect(existsSync(out) ? readdirSync(out) : []).toEqual([]);
  }
});
