/**
 * A scan that is too large to be drawn whole: NiiVue gets the slice at hand as a volume of its own, one voxel deep, so that a
 * stroke or another slice takes no longer than with a small scan. What is drawn stays here, on the scan's own grid.
 */
import type { Niivue, NVImage } from '@niivue/niivue';
import { writeNifti, type Size3 } from 'unet3d-gpu/worker';
import { keepVolumes, loaded } from '../niivue.ts';
import { eachOfSlice } from './drawing.ts';
import type { Slice } from './grid.ts';

type Voxels = Uint8Array<ArrayBuffer>;

export interface LargeScan {
  /** Of the display, as all that follows. */
  readonly size: Size3;
  readonly spacing: Size3;
  readonly greys: Voxels;
  readonly drawn: Voxels;
}

export class OneSlice {
  readonly #niivue: Niivue;
  readonly scan: LargeScan;
  readonly #dress: (proposal: NVImage) => void;
  readonly #isLocked: () => boolean;
  /** The one that NiiVue has; its drawing is newer than the scan's while one draws. */
  #shown: Slice | undefined;
  #axis: Slice['axis'] = 2;
  /** A voxel of the slice at hand. */
  place: Size3;
  #turn: Promise<void> = Promise.resolve();
  #proposal: Voxels | undefined;
  #isNewProposal = false;
  #isEnded = false;

  /**
   * @param dress gives a proposal its colours
   * @param isLocked whether nobody can draw: what NiiVue has may be older than the scan's drawing then
   */
  constructor(niivue: Niivue, scan: LargeScan, dress: (proposal: NVImage) => void, isLocked: () => boolean) {
    this.#niivue = niivue;
    this.scan = scan;
    this.#dress = dress;
    this.#isLocked = isLocked;
    this.place = scan.size.map((length) => length >> 1) as unknown as Size3;
  }

  /** Shows nothing from now on, also of what is still being loaded: NiiVue is another's. */
  end(): void {
    this.#isEnded = true;
  }

  /** The slice at hand. */
  get slice(): Slice {
    return { axis: this.#axis, index: this.place[this.#axis] };
  }

  /** Shows a slice after the one that is being shown; of several, the last. Call `collect` before. */
  show({ axis, index }: Slice): Promise<void> {
    this.#axis = axis;
    this.place = this.place.map((at, along) => (along === axis ? index : at)) as unknown as Size3;
    this.#turn = this.#turn.catch(() => undefined).then(() => this.#show());
    return this.#turn;
  }

  /** A proposal in the order of the display, or none. */
  propose(proposal: Voxels | undefined): Promise<void> {
    this.#proposal = proposal;
    this.#isNewProposal = true;
    return this.show(this.slice);
  }

  async #show(): Promise<void> {
    if (this.#isEnded) return;
    const [niivue, slice, { greys, drawn }] = [this.#niivue, this.slice, this.scan];
    const isSame = this.#shown?.axis === slice.axis && !this.#isNewProposal;
    if (isSame && this.#shown!.index === slice.index) return;
    const [scan, proposal] = niivue.volumes;
    if (isSame) {
      (scan!.img as Uint8Array).set(this.#of(greys, slice));
      if (this.#proposal) (proposal!.img as Uint8Array).set(this.#of(this.#proposal, slice));
    } else await this.#load(slice);
    if (this.#isEnded) return;
    this.#shown = slice;
    if (isSame) niivue.updateGLVolume();
    niivue.drawBitmap!.set(this.#of(drawn, slice));
    niivue.refreshDrawing(true);
  }

  /** Volumes of one slice, in the place of those that are there. */
  async #load(slice: Slice): Promise<void> {
    const [niivue, proposal] = [this.#niivue, this.#proposal];
    this.#isNewProposal = false;
    const scan = await this.#volume(this.scan.greys, slice, { colormap: 'gray' });
    const over = proposal && (await this.#volume(proposal, slice, { opacity: 0.35 }));
    if (this.#isEnded) return;
    scan.cal_min = 0;
    scan.cal_max = 255;
    if (!this.#isLocked()) this.collect(); // of a stroke that goes on
    niivue.closeDrawing();
    keepVolumes(niivue, 0);
    niivue.addVolume(scan);
    niivue.createEmptyDrawing();
    if (!over) return;
    this.#dress(over);
    niivue.addVolume(over);
  }

  async #volume(voxels: Voxels, slice: Slice, options: Parameters<typeof loaded>[1]): Promise<NVImage> {
    const { size, spacing } = this.scan;
    const shape = size.map((length, axis) => (axis === slice.axis ? 1 : length));
    const affine = [spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0, 0, 0, 0, 1];
    const bytes = await writeNifti({ data: this.#of(voxels, slice), shape, affine }, { gzip: false });
    return loaded(new File([bytes], 'slice.nii'), options);
  }

  greysOf(slice: Slice): Voxels {
    return this.#of(this.scan.greys, slice);
  }

  #of(voxels: Voxels, slice: Slice): Voxels {
    const { size } = this.scan;
    const result = new Uint8Array((size[0] * size[1] * size[2]) / size[slice.axis]);
    let next = 0;
    eachOfSlice(size, slice, (at) => (result[next++] = voxels[at]!));
    return result;
  }

  /** Takes what has been drawn on the slice into the scan's drawing. */
  collect(): void {
    const bitmap = this.#niivue.drawBitmap;
    if (!this.#shown || !bitmap) return;
    let next = 0;
    eachOfSlice(this.scan.size, this.#shown, (at) => (this.scan.drawn[at] = bitmap[next++]!));
  }

  /** Shows what the scan's drawing holds now. */
  redraw(): void {
    if (!this.#shown) return;
    this.#niivue.drawBitmap!.set(this.#of(this.scan.drawn, this.#shown));
    this.#niivue.refreshDrawing(true);
  }
}
