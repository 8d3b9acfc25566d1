/**
 * The last lines of a test run: the adapters used, everything that did not run with its reason, and the counts.
 * A run in which no test has passed is a failure.
 */
import type { Reporter, SerializedError, TestModule } from 'vitest/node';
import { swiftShaderTip } from '../../src/gpu/node.ts';

export class SummaryReporter implements Reporter {
  readonly #notRun: readonly string[];

  /** @param notRun what the configuration had to leave out as a whole, with the reason */
  constructor(notRun: readonly string[]) {
    this.#notRun = notRun;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const adapters = new Set<string>();
    const skipped = [...this.#notRun];
    const failed = unhandled.map((error) => `outside of tests: ${error.message}`);
    let passed = 0;
    for (const module of modules) {
      for (const adapter of module.meta().adapters ?? []) adapters.add(adapter);
      const file = `${module.project.name}: ${module.relativeModuleId}`;
      if (module.errors().length > 0) failed.push(`${file}: the file itself`);
      for (const test of module.children.allTests()) {
        const result = test.result();
        const name = `${file}: ${test.fullName}`;
        if (result.state === 'passed') passed++;
        else if (result.state === 'failed') failed.push(name);
        else if (result.state === 'skipped')
          skipped.push(`${name}: ${result.note ?? reason(test.options.mode)}`);
        else skipped.push(`${name}: the run ended before it`);
      }
    }

    const lines = ['', ...[...adapters].map((adapter) => `Adapter in ${adapter}`)];
    if (adapters.size === 0) lines.push('No GPU adapter was used.');
    if ([...adapters].some((adapter) => adapter.startsWith('Node: google swiftshader')))
      lines.push(swiftShaderTip());
    if (failed.length > 0) lines.push('Failed:', ...failed.map((name) => `  ${name}`));
    if (skipped.length > 0) lines.push('Did not run:', ...skipped.map((name) => `  ${name}`));
    if (passed === 0) {
      lines.push('No test has passed, which counts as a failure.');
      process.exitCode = 1;
    }
    lines.push(`${passed} passed, ${failed.length} failed, ${skipped.length} skipped`);
    console.log(lines.join('\n'));
  }
}

function reason(mode: string): string {
  if (mode === 'todo') return 'not written yet';
  return mode === 'skip' ? 'skipped without a reason' : 'left out by a filter or by .only';
}
