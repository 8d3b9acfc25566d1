/**
 * Tries what is read from files with seeded, damaged input and prints what became of it; the exit code is 1 if
 * anything but a value or a refusal came out.
 *   npm run fuzz -- [--count 10000] [--seed 1] [--first 0] [--kind volumes]
 */
import { parseArgs } from 'node:util';
import { fuzz, summary } from './harness.ts';
import { kinds } from './kinds.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    kind: { type: 'string' },
  },
});
const chosen = values.kind === undefined ? kinds : kinds.filter(({ name }) => name === values.kind);
if (chosen.length === 0)
  throw new Error(`--kind is one of ${kinds.map(({ name }) => `"${name}"`).join(', ')}`);
const [seed, count, first] = [values.seed, values.count, values.first].map(Number) as [
  number,
  number,
  number,
];
for (const kind of chosen) {
  // In parts, so that a long run that is ended early has said how far it came.
  for (let from = first; from < first + count; from += 1000) {
    const part = await fuzz(kind, { seed, count: Math.min(1000, first + count - from), first: from });
    console.log(`from ${from}: ${summary(part)}`);
    for (const fault of part.faults.slice(0, 20)) console.log(`  ${fault}`);
    if (part.faults.length > 0) process.exitCode = 1;
  }
}
