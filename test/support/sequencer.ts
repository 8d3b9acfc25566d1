/**
 * The order of test files: those with a process of their own first, so that the others keep theirs to the end; among
 * each, the longest first, so that no core waits for a long one at the end.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes ten seconds or more on SwiftShader, the longest first. */
const longest = [
  'test/example/browser.test.ts',
  'test/package/package.test.ts',
  'test/cli/processes.test.ts',
  'test/ops/conv3.test.ts',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = longest.findIndex((path) => moduleId.endsWith(path));
      return place < 0 ? longest.length : place;
    };
    const shared = ({ project }: TestSpecification): number => (project.config.isolate ? 0 : 1);
    return (await super.sort(files)).sort((a, b) => shared(a) - shared(b) || rank(a) - rank(b));
  }
}
