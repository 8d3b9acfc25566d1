/** A model's labels are those of the cases at hand, or it is said why not. */
import { expect, test } from 'vitest';
import { disagreement } from '../../examples/browser/src/agreement.ts';
import { state, type OpenModel } from '../../examples/browser/src/state.ts';

const modelOf = (
  labels: readonly string[],
  classes = labels.length,
  regions?: readonly object[],
): OpenModel =>
  ({
    config: { inChannels: 1, classes },
    description: { labels, ...(regions && { regions }) },
  }) as unknown as OpenModel;

test('classes of other names under the same values are told, nameless ones go with any', () => {
  state.labels = ['background', 'Bladder', 'rectum'];
  state.regions = undefined;
  expect(disagreement(modelOf(['background', 'bladder', 'Rectum']))).toBe('');
  expect(disagreement(modelOf([], 3))).toBe('');
  expect(disagreement(modelOf(['background', 'class 1', 'rectum']))).toBe('');
  expect(disagreement(modelOf(['background', 'rectum', 'bladder']))).toMatch(
    /calls label 1 "rectum", and here that is "Bladder": what it finds would be taken for something else/,
  );
  state.labels = [];
  expect(disagreement(modelOf(['background', 'rectum', 'bladder']))).toBe('');
});

test('regions are compared with regions, by the values that are written', () => {
  const region = (name: string, written: number) => ({ name, labels: [written], written });
  state.labels = ['background', 'oedema', 'core'];
  state.regions = [region('whole', 1), region('core', 2)];
  const [same, other] = [
    [region('core', 2), region('whole', 1)],
    [region('core', 1), region('whole', 2)],
  ];
  expect(disagreement(modelOf([], 2, same))).toBe('');
  expect(disagreement(modelOf([], 2, other))).toMatch(/calls label 1 "core", and here that is "whole"/);
  expect(disagreement(modelOf(['background', 'core', 'oedema']))).toMatch(/calls label 1 "core", and here/);
  state.regions = undefined;
});
