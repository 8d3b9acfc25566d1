/**
 * Runs the tests of test/cluster, each on an engine that clusters have, and names loudly what could not run. Engines that
 * are missing are installed where continuous integration may do that without being asked: as root, by apt-get.
 */
import { spawnSync, type SpawnSyncOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { engines, isHere } from '../test/cluster/engines.ts';

const run = (program: string, args: readonly string[], options: SpawnSyncOptions = {}) =>
  spawnSync(program, args, { stdio: 'inherit', ...options });

const missing = engines.filter((engine) => !isHere(engine));
const mayInstall = process.env['CI'] !== undefined && process.getuid?.() === 0;
if (missing.length > 0 && mayInstall) {
  const packages = missing.flatMap((engine) => engine.packages);
  // Without a network, apt-get tries for minutes.
  const quiet = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: 90_000 };
  run('apt-get', ['update', '-qq'], quiet);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], quiet);
}

const here = engines.filter(isHere);
if (here.length > 0) {
  const config = fileURLToPath(new URL('../test/cluster/vitest.config.ts', import.meta.url));
  const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
  const args = [
    '--import',
    'tsx',
    fileURLToPath(new URL('run.ts', import.meta.url)),
    vitest,
    'run',
    '--config',
    config,
  ];
  process.exitCode = run(process.execPath, [...args, ...process.argv.slice(2)]).status ?? 1;
}
for (const { name, programs, packages } of engines.filter((engine) => !isHere(engine)))
  console.log(
    `COULD NOT RUN: the tests on ${name}, of which ${programs.join(', ')} is not here (Debian, Ubuntu: apt install ${packages.join(' ')})`,
  );
