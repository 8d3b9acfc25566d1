/** Types that everything is checked against; tsc runs these tests. */
import { expectTypeOf, test } from 'vitest';

test('no dependency declares arrays anew: an element may be missing', () => {
  expectTypeOf([1].at(-1)).toEqualTypeOf<number | undefined>();
  expectTypeOf('text'.at(-1)).toEqualTypeOf<string | undefined>();
});
