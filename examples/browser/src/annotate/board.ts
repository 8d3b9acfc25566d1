/** NiiVue as a drawing board: one case at a time, on its own grid. */
import type { Niivue } from '@niivue/niivue';
import { classColor, type Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { el } from '../dom.ts';
import type { VolumeFile } from '../state.ts';
import {
  colormap,
  free,
  keepVolumes,
  library,
  loaded,
  mostVoxels,
  pictureOptions,
  thinCrosshair,
} from '../niivue.ts';
import { drawnBackground } from './drawing.ts';
import { displayShape, type Slice, type Turn } from './grid.ts';
import { OneSlice } from './one-slice.ts';
import { countOf, type Greys, type Voxels } from './scan.ts';

/** Of the file, but the spacing: that is the display's. */
type Opened = Omit<Greys, 'greys'>;

export const boardPlanes = ['axial', 'coronal', 'sagittal', 'all'] as const;
export type BoardPlane = (typeof boardPlanes)[number];

export const tools = ['pen', 'outline', 'fill', 'eraser'] as const;
export type Tool = (typeof tools)[number];

/** Of strokes that say "background": unlike any grey of a scan. */
const backgroundColor = [150, 120, 90] as const;

/** Across which axis of the display a plane lies. */
const axes: Record<BoardPlane, 0 | 1 | 2> = { axial: 2, coronal: 1, sagittal: 0, all: 2 };

export class Board {
  readonly #canvas = el('canvas', { 'aria-label': 'Slices to draw on', role: 'img' });
  readonly element = el('div', { className: 'canvas board' }, this.#canvas);
  #niivue: Niivue | undefined;
  /** Where the scan is too large to be drawn whole. */
  #large: OneSlice | undefined;
  #turn: Turn = [1, 2, 3];
  #names: readonly string[] = [];
  readonly #hidden = new Set<number>();
  #plane: BoardPlane = 'axial';
  #tool: Tool = 'pen';
  #value = 1;
  #width = 1;
  #opacity = 0.6;
  /** Across which axis the slice lies that was touched last. */
  #axis: 0 | 1 | 2 = 2;
  #disposed = false;
  /** Whether nothing can be drawn. */
  #isLocked = true;
  /** Of what is shown: what was asked for before it comes too late. */
  #wish = 0;
  /** Called when the person may have drawn something. */
  onStroke: () => void = () => undefined;
  /** Called when another slice is there. */
  onMove: () => void = () => undefined;
  /** Called where the person wants to fill what lies there. */
  onFill: (seed: Size3) => void = () => undefined;

  constructor() {
    // NiiVue listens to the mouse: by now it has not drawn the end of the stroke.
    const stroke = (): void => void setTimeout(() => this.#endStroke());
    for (const event of ['mouseup', 'mouseleave', 'touchend', 'touchcancel'])
      this.#canvas.addEventListener(event, stroke);
    this.#canvas.addEventListener('click', () => {
      if (this.#tool === 'fill' && !this.#isLocked) setTimeout(() => this.onFill(this.place));
    });
  }

  #endStroke(): void {
    if (this.#isLocked || this.#disposed) return;
    this.#large?.collect();
    this.onStroke();
  }

  /** Shows the case with nothing drawn on it, locked; undefined if the board is gone meanwhile. */
  async open(image: VolumeFile, signal: AbortSignal): Promise<Opened | undefined> {
    const niivue = await this.#opened();
    if (!niivue) return undefined;
    this.clear();
    const large = await dataJob('greys', { image, most: mostVoxels() }, { signal });
    if (large) return this.#openLarge(niivue, large);
    const volume = await loaded(image, { colormap: 'gray' });
    signal.throwIfAborted();
    if (this.#disposed) return undefined;
    niivue.addVolume(volume);
    niivue.createEmptyDrawing();
    const { dims } = volume.hdr!; // of the file: the volume's own are the display's once it is shown
    return {
      shape: dims.slice(1, 4) as unknown as Size3,
      volumes: countOf(dims.slice(1, 1 + dims[0]!)),
      turn: volume.permRAS as unknown as Turn,
      spacing: volume.pixDimsRAS!.slice(1, 4) as unknown as Size3,
    };
  }

  async #openLarge(
    niivue: Niivue,
    { greys, shape, volumes, turn, spacing }: Greys,
  ): Promise<Opened | undefined> {
    if (this.#disposed) return undefined;
    const drawn = new Uint8Array(greys.length);
    const large = new OneSlice(
      niivue,
      { size: displayShape(shape, turn), spacing, greys, drawn },
      (proposal) => void proposal.setColormapLabel(this.#colormap()),
      () => this.#isLocked,
    );
    this.#large = large;
    this.#turn = turn;
    if (this.#plane === 'all') this.plane = 'axial';
    else await large.show({ axis: this.#axis, index: large.place[this.#axis] });
    return this.#disposed ? undefined : { shape, volumes, turn, spacing };
  }

  /** Whether the scan is shown and drawn on one slice at a time. */
  get isLarge(): boolean {
    return this.#large !== undefined;
  }

  async #opened(): Promise<Niivue | undefined> {
    if (this.#niivue || this.#disposed) return this.#niivue;
    const { Niivue } = await library();
    if (this.#disposed) return undefined;
    const niivue = new Niivue({
      ...pictureOptions,
      crosshairWidth: 0,
      multiplanarShowRender: 0,
      // Else the slice drifts while one draws on oblique volumes.
      isForceMouseClickToVoxelCenters: true,
      maxDrawUndoBitmaps: 1, // steps are the page's, which has redo
      // Keys of its own that would change the picture behind the page's back.
      viewModeHotKey: '',
      clipPlaneHotKey: '',
      cycleClipPlaneHotKey: '',
    });
    niivue.onLocationChange = (location) => {
      const { axCorSag } = location as { axCorSag?: number };
      if (this.#plane === 'all' && axCorSag !== undefined && axCorSag <= 2)
        this.#axis = (2 - axCorSag) as 0 | 1 | 2;
      this.onMove();
    };
    await niivue.attachToCanvas(this.#canvas, false);
    this.#niivue = niivue;
    if (this.#disposed) {
      this.dispose(); // which came before there was one
      return undefined;
    }
    this.#colour();
    this.plane = this.#plane;
    niivue.setDrawOpacity(this.#opacity);
    return niivue;
  }

  /** What is drawn, in the order of the display; it may be written to, and `redraw` shows that. */
  get drawn(): Uint8Array {
    return this.#large?.scan.drawn ?? this.#niivue!.drawBitmap!;
  }

  redraw(): void {
    if (this.#large) return this.#large.redraw();
    this.#niivue?.refreshDrawing(true);
  }

  /** Shows a proposal under what is drawn, or none. */
  async propose(proposal: VolumeFile | undefined): Promise<void> {
    const niivue = this.#niivue;
    if (!niivue) return;
    const wish = ++this.#wish;
    const large = this.#large;
    if (large) {
      const values = proposal && (await dataJob('values', { labels: proposal, turn: this.#turn }));
      if (!this.#disposed && wish === this.#wish) await large.propose(values);
      return;
    }
    const overlay = proposal && (await loaded(proposal, { opacity: 0.35 }));
    if (this.#disposed || wish !== this.#wish || niivue.volumes.length === 0) return;
    keepVolumes(niivue, 1);
    if (overlay) {
      overlay.setColormapLabel(this.#colormap());
      niivue.addVolume(overlay);
    }
    niivue.updateGLVolume();
  }

  set names(names: readonly string[]) {
    this.#names = names;
    this.#colour();
  }

  setVisible(value: number, isVisible: boolean): void {
    if (isVisible) this.#hidden.delete(value);
    else this.#hidden.add(value);
    this.#colour();
  }

  isVisible(value: number): boolean {
    return !this.#hidden.has(value);
  }

  /** Of proposals. */
  #colormap = () => colormap(this.#names, (value) => this.#hidden.has(value), undefined);

  #colour(): void {
    const niivue = this.#niivue;
    if (!niivue) return;
    const lut = new Uint8ClampedArray(4 * 256);
    const labels = Array.from({ length: 256 }, (_, value) => this.#names[value] ?? '');
    for (let value = 1; value < 256; value++) {
      const color = value === drawnBackground ? backgroundColor : classColor(value);
      lut.set([...color, this.#hidden.has(value === drawnBackground ? 0 : value) ? 0 : 255], 4 * value);
    }
    niivue.drawLut = { lut, labels };
    niivue.volumes[1]?.setColormapLabel(this.#colormap()); // the proposal
    if (niivue.volumes.length > 0) niivue.updateGLVolume();
  }

  /** Fills with this tool and value from now on; 0 draws background. */
  use(tool: Tool, value: number): void {
    this.#tool = tool;
    this.#value = value;
    this.#use();
  }

  #use(): void {
    const niivue = this.#niivue;
    if (!niivue || niivue.volumes.length === 0) return;
    const value = this.#value === 0 ? drawnBackground : this.#value;
    niivue.opts.penSize = this.#tool === 'outline' ? 1 : this.#width;
    niivue.setPenValue(this.#tool === 'eraser' ? 0 : value, this.#tool === 'outline');
    niivue.setDrawingEnabled(this.#tool !== 'fill' && !this.#isLocked);
  }

  /** Shows no case. */
  clear(): void {
    this.#wish++;
    this.#isLocked = true;
    this.#large?.end();
    this.#large = undefined;
    const niivue = this.#niivue;
    if (!niivue) return;
    niivue.setDrawingEnabled(false);
    niivue.closeDrawing();
    keepVolumes(niivue, 0);
  }

  /** Nothing can be drawn from now on; what has been drawn until now is there. */
  lock(): void {
    if (!this.#isLocked) this.#large?.collect();
    this.#isLocked = true;
    this.#use();
  }

  /** What is drawn is the person's again. */
  unlock(): void {
    this.#isLocked = false;
    this.#use();
  }

  get width(): number {
    return this.#width;
  }

  set width(voxels: number) {
    this.#width = voxels;
    this.#use();
  }

  get opacity(): number {
    return this.#opacity;
  }

  set opacity(value: number) {
    this.#opacity = value;
    this.#niivue?.setDrawOpacity(value);
  }

  get plane(): BoardPlane {
    return this.#plane;
  }

  set plane(plane: BoardPlane) {
    this.#plane = plane;
    this.#axis = axes[plane];
    const niivue = this.#niivue;
    if (!niivue) return;
    // As NiiVue numbers them.
    const types = { axial: 0, coronal: 1, sagittal: 2, all: 3 };
    niivue.opts.crosshairWidth = plane === 'all' ? thinCrosshair : 0;
    niivue.setSliceType(types[plane]);
    if (this.#large) this.#show({ axis: this.#axis, index: this.#large.place[this.#axis] });
    else this.onMove();
  }

  /** The voxel under the cross-hairs, on the display's grid. */
  get place(): Size3 {
    const place = [...this.#niivue!.frac2vox(this.#niivue!.scene.crosshairPos)];
    if (this.#large) place[this.#large.slice.axis] = this.#large.slice.index;
    return place as unknown as Size3;
  }

  /** The slice that is drawn on, of the display. */
  get slice(): Slice {
    return this.#large?.slice ?? { axis: this.#axis, index: this.place[this.#axis] };
  }

  goTo({ axis, index }: Slice): void {
    const niivue = this.#niivue;
    if (!niivue?.volumes[0]) return;
    const at = [...this.place];
    const length = this.#large?.scan.size[axis] ?? niivue.volumes[0].dimsRAS![axis + 1]!;
    at[axis] = Math.max(0, Math.min(length - 1, index));
    this.goToVoxel(at as unknown as Size3);
  }

  /** Shows the slices through a voxel of the display's grid. */
  goToVoxel(voxel: Size3): void {
    const niivue = this.#niivue;
    if (!niivue?.volumes[0]) return;
    if (this.#large) {
      const across = this.#axis;
      return this.#show({ axis: across, index: voxel[across] });
    }
    niivue.scene.crosshairPos = niivue.vox2frac([...voxel]);
    niivue.drawScene();
    this.onMove();
  }

  /** Shows a slice of a large scan, once what has been drawn on the one before is taken. */
  #show(slice: Slice): void {
    this.#endStroke();
    void this.#large?.show(slice);
    this.onMove();
  }

  /**
   * A copy of the greys of the image: those of the file, in its order; of a large scan those of a slice, in the order of
   * the display.
   */
  greys(slice: Slice): { readonly image: Voxels; readonly turn: Turn } {
    if (this.#large) return { image: this.#large.greysOf(slice), turn: [1, 2, 3] };
    const [volume] = this.#niivue!.volumes;
    return {
      image: (volume!.img as Voxels).slice(0, this.drawn.length),
      turn: volume!.permRAS as unknown as Turn,
    };
  }

  focus(): void {
    this.#canvas.focus({ preventScroll: true });
  }

  /** Frees its volumes and its WebGL context, of which a page has few. */
  dispose(): void {
    this.#disposed = true;
    this.#large?.end();
    if (this.#niivue) free(this.#niivue);
  }
}
