/** What the report of a training says of how it is had again. */
import { expect, test } from 'vitest';
import type { RunRecord } from '../../examples/browser/src/kept/database.ts';
import { stubBrowser } from '../support/page-store.ts';

test('the report names the network that a training began with, and what of it stayed', async () => {
  stubBrowser();
  const { origin } = await import('../../examples/browser/src/report.ts');
  const said = (more: object): string => origin({ settings: { seed: 7 }, ...more } as unknown as RunRecord);
  const again = 'the same files, parts, settings and seed 7 give it again.';
  expect(said({})).toBe(`Trained in a browser tab: ${again}`);
  expect(said({ continues: true, from: { name: 'liver', heads: 'auto', freeze: 'encoder' } })).toBe(
    `Trained in a browser tab from the weights of liver, its last layer kept where the classes were the same, its encoder left as it was: these weights and ${again}`,
  );
  expect(said({ continues: true })).toBe(
    `Trained in a browser tab from the weights of another network: these weights and ${again}`,
  );
});
