/**
 * The order of test files: those with a process of their own first, so that the others keep theirs to the end; among
 * each, the longest first, so that no core waits for a long one at the end.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes some ten seconds or more on software adapters. */
const longest = [
  'test/example/browser.test.ts',
  'test/example/keeping.test.ts',
  'test/docs/examples.test.ts',
  'test/example/annotating.test.ts',
  'test/example/data.test.ts',
  'test/example/folders.test.ts',
  'test/example/plain-html.test.ts',
  'test/package/package.test.ts',
  'test/ops/conv3.test.ts',
  'test/cli/processes.test.ts',
  'test/model/turns.test.ts',
  'test/interop/gradients.test.ts',
  'test/interop/nnunet/segment.test.ts',
  'test/cli/cascade.test.ts',
  'test/ops/conv.test.ts',
  'test/model/matrix-units.test.ts',
  'test/ops/upconv.test.ts',
  'test/model/residual.test.ts',
  'test/cli/nnunet-preset.test.ts',
  'test/cli/folds.test.ts',
  'test/ops/parts.test.ts',
  'test/model/ladder.test.ts',
  'test/train/protocol.test.ts',
  'test/interop/fine-tuning.test.ts',
  'test/interop/again.test.ts',
  'test/model/policy.test.ts',
  'test/browser/worker.test.ts',
  'test/train/not-finite.test.ts',
  'test/ops/torch.test.ts',
  'test/cli/stages.test.ts',
  'test/model/limits.test.ts',
  'test/model/tune.test.ts',
  'test/crash/kill.test.ts',
  'test/train/ranks.test.ts',
  'test/cli/train.test.ts',
  'test/cli/foresight.test.ts',
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
