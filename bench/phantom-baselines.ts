/**
 * Prints what the demo's phantoms give away without a network: voxels per class, and the test Dice of
 * the positional prior and of the intensity classifier. Run: npx tsx bench/phantom-baselines.ts [train] [test]
 */
import { intensityClassifier, positionalPrior } from '../src/metrics/phantom-baselines.ts';
import { phantomLabels, phantoms } from '../src/data/phantom.ts';
import { dice, meanDefined } from '../src/metrics/dice.ts';

const [trainCount = 24, testCount = 24] = process.argv.slice(2).map(Number);
const started = performance.now();
const train = phantoms(trainCount);
const test = phantoms(testCount, { first: 1000 });
const ms = (performance.now() - started) / (trainCount + testCount);

const prior = positionalPrior(train);
const classify = intensityClassifier(train);
const mean = (scores: number[][]) =>
  phantomLabels.map((_, label) => meanDefined(scores.map((s) => s[label]!)));
const byPosition = mean(test.map(({ labels }) => dice(prior, labels, 6)));
const byIntensity = mean(test.map(({ image, labels }) => dice(classify(image), labels, 6)));

console.log(`${trainCount} training and ${testCount} test subjects, ${ms.toFixed(1)} ms per phantom`);
console.table(
  phantomLabels.map((name, label) => {
    const voxels = test.map(({ labels }) => labels.reduce((sum, value) => sum + Number(value === label), 0));
    return {
      class: name,
      'fewest voxels': Math.min(...voxels),
      'mean voxels': Math.round(meanDefined(voxels)),
      'positional prior': byPosition[label]!.toFixed(3),
      'intensity only': byIntensity[label]!.toFixed(3),
    };
  }),
);
