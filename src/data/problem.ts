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
  /** An error would stop a training; a warning may spoil it. */
  readonly severity: 'error' | 'warning';
  /** What it is about. */
  readonly kind: ProblemKind;
  /** Their ids; empty where it is about the data set as a whole. */
  readonly cases: readonly string[];
  /** What was found, what was expected and what to do. */
  readonly message: string;
}
