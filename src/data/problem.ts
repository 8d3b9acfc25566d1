/** What `check` finds wrong with a data set. */
export type ProblemKind =
  | 'corrupt'
  | 'shape'
  | 'place'
  | 'spacing'
  | 'orientation'
  | 'label values'
  | 'empty class'
  | 'intensity'
  | 'duplicate'
  | 'channels'
  | 'subjects';

/** One problem; `cases` names those it concerns. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly kind: ProblemKind;
  readonly cases: readonly string[];
  readonly message: string;
}
