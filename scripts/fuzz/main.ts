/**
 * Tries what is read from files with seeded, damaged input and prints what became of it; the exit code is 1 if
 * anything but a value or a refusal came out.
 *   npm run fuzz -- [--count 10000] [--seed 1] [--first 0] [--kind volumes]
 */
import { parseArgs } from 'node:util';
import { fuzz, summary } from './harness.ts';
import { counted, held } from './kinds.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    kind: { type: 'string' },
  },
});
const all = [...held, ...counted];
const chosen = values.kind === undefined ? all : all.filter(({ name }) => name === values.kind);
if (chosen.length === 0) throw new Error(`--kind is one of ${all.map(({ name }) => `"${name}"`).join(', ')}`);
for (const kind of chosen) {
  const [seed, count, first] = [values.seed, values.count, values.first].map(Number) as [
    number,
    number,
    number,
  ];
  const outcome = await fuzz(kind, { seed, count, first });
  console.log(summary(outcome));
  for (const fault of [...outcome.faults, ...outcome.slow].slice(0, 20)) console.log(`  ${fault}`);
  if (held.includes(kind) && outcome.faults.length > 0) process.exitCode = 1;
}
