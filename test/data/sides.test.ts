/** Which names tell left from right: words and abbreviations of sides, not words that begin like them. */
import { expect, test } from 'vitest';
import { mirrorable, sidedName } from '../../src/data/sides.ts';

test.each([
  ...['kidney_left', 'Right Kidney', 'KidneyLeft', 'hippocampus-lh', 'Lung_L', 'FemurR', 'R lung'],
  ...['Kidney_Lt', 'Parotid_Rt', 'LtParotid', 'kidney lt', 'LUNG_RT', 'LKidney', 'RKidney', 'PTV_LBreast'],
])('%s', (name) => {
  expect(sidedName({ labels: ['background', name] })).toBe(name);
  expect(sidedName({ labels: ['background'], regions: [{ name, labels: [1], written: 1 }] })).toBe(name);
  expect(mirrorable({ labels: ['background', name] })).toEqual(['y', 'z']);
});

test('other names tell no side', () => {
  const labels = [
    ...['background', 'Liver', 'LIVER', 'Rectum', 'RECTUM', 'Lungs', 'Ribs', 'L1', 'vertebrae_L5', 'LV'],
    ...['RT1', 'Ltumour', 'alt', 'art', 'Heart', 'GTVr1', 'Aorta', 'RPE', 'CTV_LN', 'bright', 'cleft lip'],
  ];
  expect(labels.filter((name) => sidedName({ labels: [name] }) !== undefined)).toEqual([]);
  expect(mirrorable({ labels })).toEqual(['x', 'y', 'z']);
});
