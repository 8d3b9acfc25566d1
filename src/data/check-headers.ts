/** What headers say that stops no training, but that a person should know: where and how large the voxels are. */
import type { Problem } from './problem.ts';
import { apartText, gridDifference } from './grid.ts';
import { headerAffine, millimetresPerUnit } from './nifti-affine.ts';
import type { NiftiHeader } from './nifti-header.ts';
import { flat, perpendicularity, spacingOf } from './volume.ts';

/** Spacings in mm that images of bodies have; others are mostly a wrong unit. */
const usualSpacing = { least: 0.05, most: 20 };

interface Remark {
  readonly kind: Problem['kind'];
  readonly text: string;
  /** How far, where it is about a distance. */
  readonly millimetres?: number;
}

/** Below it axes are no longer nearly perpendicular: 8 degrees of tilt, or volumes off by a hundredth. */
const tilted = 0.99;

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
  const upright = perpendicularity(affine);
  if (sformCode > 0 && upright < flat)
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
  if (upright >= flat && upright < tilted)
    found.push({
      kind: 'spacing',
      text:
        'The axes are not perpendicular, as of a CT with a tilted gantry: distances are measured as if they were, and views ' +
        'show them so; resample such scans, or let dcm2niix correct the tilt',
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
