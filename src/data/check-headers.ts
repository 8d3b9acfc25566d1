/** What headers say that stops no training, but that a person should know: where and how large the voxels are. */
import type { Problem } from './problem.ts';
import { apartText, gridDifference } from './grid.ts';
import { headerAffine, millimetresPerUnit } from './nifti-affine.ts';
import type { NiftiHeader } from './nifti-header.ts';
import { spacingOf } from './volume.ts';

/** Spacings in mm that images of bodies have; others are mostly a wrong unit. */
const usualSpacing = { least: 0.05, most: 20 };

interface Remark {
  readonly kind: Problem['kind'];
  readonly text: string;
  /** How far, where it is about a distance. */
  readonly millimetres?: number;
}

/** Whether an axis of the affine has no length, or lies in the plane of the others. */
function isFlat(affine: readonly number[]): boolean {
  const at = (row: number, column: number): number => affine[4 * row + column]!;
  const minor = (a: number, b: number): number => at(1, a) * at(2, b) - at(1, b) * at(2, a);
  const determinant = at(0, 0) * minor(1, 2) - at(0, 1) * minor(0, 2) + at(0, 2) * minor(0, 1);
  const voxel = spacingOf(affine).reduce((a, b) => a * b, 1);
  return Math.abs(determinant) < 1e-6 * voxel;
}

/** The qform's affine where it is told but not used; undefined where there is none. */
function unusedQform(header: NiftiHeader): readonly number[] | undefined {
  if (header.sformCode <= 0 || header.qformCode <= 0) return undefined;
  try {
    return headerAffine({ ...header, sformCode: 0 }, header.shape);
  } catch {
    return undefined; // a quaternion that is none: nobody reads it
  }
}

function remarksOn(header: NiftiHeader): Remark[] {
  const found: Remark[] = [];
  const { shape, sformCode } = header;
  const affine = headerAffine(header, shape);
  const unit = millimetresPerUnit(header.xyztUnits);
  if (unit !== 1)
    found.push({
      kind: 'spacing',
      text: `The header counts in ${unit === 1000 ? 'metres' : 'micrometres'}; it is converted to mm`,
    });
  if (sformCode > 0 && isFlat(affine))
    found.push({
      kind: 'spacing',
      text:
        `The sform has zeros where an axis should be, although its code is above 0; an axis without length counts 1 mm, so ` +
        'distances and volumes may be wrong: write a whole sform, or set sform_code to 0 where the qform is right',
    });
  else if (spacingOf(affine).some((mm) => mm < usualSpacing.least || mm > usualSpacing.most))
    found.push({
      kind: 'spacing',
      text: `Spacing is outside ${usualSpacing.least} to ${usualSpacing.most} mm: see whether the header's unit is right`,
    });
  const qform = unusedQform(header);
  const difference = qform && gridDifference({ shape, affine }, { shape, affine: qform });
  if (difference?.kind === 'place')
    found.push({
      kind: 'place',
      text: 'qform and sform put the voxels at different places; the sform is used: correct the header if the qform is right',
      millimetres: difference.millimetres,
    });
  return found;
}

/** Gathers what headers say, so that each remark is made once, with the cases that it is about. */
export class HeaderRemarks {
  readonly #found = new Map<string, { kind: Problem['kind']; cases: Set<string>; millimetres: number }>();

  see(id: string, header: NiftiHeader): void {
    for (const { kind, text, millimetres = 0 } of remarksOn(header)) {
      const entry = this.#found.get(text) ?? { kind, cases: new Set<string>(), millimetres: 0 };
      entry.cases.add(id);
      entry.millimetres = Math.max(entry.millimetres, millimetres);
      this.#found.set(text, entry);
    }
  }

  problems(warning: (kind: Problem['kind'], cases: readonly string[], text: string) => Problem): Problem[] {
    return [...this.#found].map(([text, { kind, cases, millimetres }]) =>
      warning(kind, [...cases], millimetres > 0 ? `${text} (${apartText(millimetres)})` : text),
    );
  }
}
