/** The table of other tools' networks in docs/checks.md: each cell names tests that are there and try that network. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** How tests and the helpers that they share name the networks of a row. */
const marks: readonly (readonly [row: RegExp, mark: RegExp])[] = [
  [/PlainConvUNet/, /nnunetFolders|plain-(iso|aniso|regions)|totalsegmentator/],
  [/ResidualEncoderUNet/, /nnunetFolders|resenc/],
  [/cascade/, /nnunetFolders|plain-regions|support\/cascade\.ts/],
  [/TotalSegmentator/, /nnunetFolders|totalsegmentator/],
  [/MONAI UNet/, /monaiFolders|unet-res2|monaiBundle/],
  [/DynUNet/, /monaiFolders|dynunet/],
  [/BasicUNet/, /monaiFolders|basicunet/],
  [/SegResNet/, /monaiFolders|segresnet/],
  [/plain PyTorch/, /\bstudy\b|support\/(torch|python|network)\.ts|modelBytes/],
];

const table = readFileSync('docs/checks.md', 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| '));
const header = table.findIndex((line) => /^\| network \| opens/.test(line));
const cellsOf = (line: string): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
const rows = table
  .slice(header + 2)
  .slice(0, marks.length)
  .map(cellsOf);

test('there is a row for each kind of network', () => {
  expect(cellsOf(table[header]!)).toHaveLength(7);
  for (const [row] of marks)
    expect(
      rows.filter(([network]) => row.test(network!)),
      String(row),
    ).toHaveLength(1);
});

test.each(rows)('%s', (network, ...cells) => {
  const [, mark] = marks.find(([row]) => row.test(network))!;
  expect(cells).toHaveLength(6);
  for (const cell of cells) {
    if (cell === '–') continue;
    const names = [...cell.matchAll(/`([\w/-]+)`/g)].map(([, name]) => name!);
    expect(names.length, `${cell} names a test`).toBeGreaterThan(0);
    for (const name of names) {
      const path = `test/${name}.test.ts`;
      expect(existsSync(path), path).toBe(true);
      expect(mark.test(readFileSync(path, 'utf8')), `${path} has ${mark.source}`).toBe(true);
    }
  }
});
