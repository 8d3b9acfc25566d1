/** NiiVue: one or two linked pictures of the same volume, each with its own label overlay. */
import type { Niivue } from '@niivue/niivue';
import { classColor, cssColor, sourceName } from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { BusyLine, button, el, fill, swatch } from './dom.ts';
import {
  colormap,
  drawsOnProcessor,
  free,
  keepVolumes,
  library,
  loaded,
  mostVoxels,
  pictureOptions,
  thinCrosshair,
} from './niivue.ts';
import type { VolumeFile } from './state.ts';

export interface Picture {
  readonly title: string;
  readonly overlay: VolumeFile | undefined;
}

interface Pane {
  readonly niivue: Niivue;
  readonly title: HTMLElement;
}

/** What is drawn: all planes beside the rendering, or one of them. */
export const layouts = ['multiplanar', 'axial', 'coronal', 'sagittal', 'rendering'] as const;
export type Layout = (typeof layouts)[number];

export function legend(names: readonly string[]): HTMLElement {
  return el(
    'ul',
    { className: 'legend', 'aria-label': 'Colours of the classes' },
    names.slice(1).map((name, index) => el('li', {}, swatch(cssColor(classColor(index + 1))), name)),
  );
}

export class Viewer {
  readonly #figures = el('div', { className: 'viewer' });
  readonly #note = el('p', { className: 'quiet', role: 'status' });
  readonly #busy = new BusyLine();
  readonly element = el('div', {}, this.#busy.element, this.#figures, this.#note);
  readonly #panes: Pane[] = [];
  readonly #hidden = new Set<number>();
  #opacity = 0.5;
  #layout: Layout = 'multiplanar';
  #turn: Promise<void> = Promise.resolve();
  #wish = 0;
  #base: VolumeFile | undefined;
  #names: readonly string[] = [];
  #unknown: number | undefined;
  #disposed = false;
  /** Called when another volume is there, whose greys have another range. */
  onVolume: () => void = () => undefined;

  /**
   * Draws in the place of what is being drawn; the newest wish wins where several wait.
   * @param unknown value of the overlays' unknown voxels, which stay clear
   */
  show(
    base: VolumeFile,
    pictures: readonly Picture[],
    names: readonly string[],
    unknown?: number,
  ): Promise<void> {
    const wish = ++this.#wish;
    this.#busy.stop();
    this.#turn = this.#turn
      .catch(() => undefined)
      .then(() => {
        if (wish !== this.#wish || this.#disposed) return;
        this.#names = names;
        this.#unknown = unknown;
        return this.#busy.during(
          `Opening ${sourceName(base)}`,
          (signal) => this.#draw(base, pictures, signal),
          () => this.#leaveOut(() => this.show(base, pictures, names, unknown)),
        );
      });
    return this.#turn;
  }

  /** Shows nothing: what was there must not be taken for what was cancelled. */
  #leaveOut(show: () => Promise<void>): void {
    this.#free();
    fill(this.#note, 'Its opening was cancelled. ', button('Open it', show));
  }

  async #draw(base: VolumeFile, pictures: readonly Picture[], signal: AbortSignal): Promise<void> {
    await library();
    if (this.#disposed) return;
    if (this.#panes.length !== pictures.length) {
      this.#free();
      for (const { title } of pictures) this.#panes.push(await this.#pane(title));
      const [first, second] = this.#panes;
      if (first && second) {
        first.niivue.broadcastTo([second.niivue], { '2d': true, '3d': true });
        second.niivue.broadcastTo([first.niivue], { '2d': true, '3d': true });
      }
    }
    const isNew = this.#base !== base;
    this.#base = undefined; // until all of it is there
    // What was there must not stand under another title, whatever cannot be drawn.
    for (const [index, { title }] of pictures.entries()) {
      const pane = this.#panes[index]!;
      keepVolumes(pane.niivue, isNew ? 0 : 1);
      pane.title.textContent = title;
      pane.title.title = title;
    }
    const volume = isNew ? await this.#volume(base, signal) : undefined;
    for (const [index, { overlay }] of pictures.entries()) {
      if (this.#disposed) return;
      const { niivue } = this.#panes[index]!;
      if (volume) niivue.addVolume(await loaded(volume, { colormap: 'gray' }));
      if (overlay) {
        const { file } = await dataJob(
          'view',
          { volume: overlay, isLabels: true, most: mostVoxels() },
          { signal },
        );
        const image = await loaded(file ?? overlay, { opacity: this.#opacity });
        signal.throwIfAborted();
        image.setColormapLabel(this.#colors());
        niivue.addVolume(image);
      }
      niivue.updateGLVolume();
    }
    this.#base = base;
    if (isNew) this.onVolume();
  }

  /** As it is drawn, which is said where that is not the whole. */
  async #volume(base: VolumeFile, signal: AbortSignal): Promise<VolumeFile> {
    const { file, note } = await dataJob(
      'view',
      { volume: base, isLabels: false, most: mostVoxels() },
      { signal },
    );
    const { SHOW_RENDER } = await library();
    // What is too large for a processor takes it seconds to render, at each move of the crosshair.
    const isFlat = file !== undefined && drawsOnProcessor();
    for (const { niivue } of this.#panes)
      niivue.opts.multiplanarShowRender = isFlat ? SHOW_RENDER.NEVER : SHOW_RENDER.ALWAYS;
    this.#note.textContent = isFlat
      ? `${note} This browser draws without a GPU: 3-D is drawn where it is chosen.`
      : note;
    return file ?? base;
  }

  async #pane(title: string): Promise<Pane> {
    const { Niivue, SHOW_RENDER } = await library();
    const canvas = el('canvas', { 'aria-label': `Slices and 3-D view: ${title}`, role: 'img' });
    const heading = el('h3', { title }, title);
    this.#figures.append(el('figure', {}, heading, el('div', { className: 'canvas' }, canvas)));
    const niivue = new Niivue({
      ...pictureOptions,
      crosshairWidth: thinCrosshair,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
    });
    await niivue.attachToCanvas(canvas, false);
    await this.#arrange(niivue);
    return { niivue, title: heading };
  }

  async #arrange(niivue: Niivue): Promise<void> {
    const { SLICE_TYPE } = await library();
    const { MULTIPLANAR, AXIAL, CORONAL, SAGITTAL, RENDER } = SLICE_TYPE;
    const types = [MULTIPLANAR, AXIAL, CORONAL, SAGITTAL, RENDER];
    niivue.setSliceType(types[layouts.indexOf(this.#layout)]!);
  }

  #colors() {
    return colormap(this.#names, (value) => this.#hidden.has(value), this.#unknown);
  }

  set layout(value: Layout) {
    this.#layout = value;
    for (const { niivue } of this.#panes) void this.#arrange(niivue);
  }

  get layout(): Layout {
    return this.#layout;
  }

  set opacity(value: number) {
    this.#opacity = value;
    for (const { niivue } of this.#panes) if (niivue.volumes.length > 1) niivue.setOpacity(1, value);
  }

  get opacity(): number {
    return this.#opacity;
  }

  /** Shows or hides a class. */
  setVisible(value: number, isVisible: boolean): void {
    if (isVisible) this.#hidden.delete(value);
    else this.#hidden.add(value);
    for (const { niivue } of this.#panes) {
      const [, overlay] = niivue.volumes;
      if (!overlay) continue;
      overlay.setColormapLabel(this.#colors());
      niivue.updateGLVolume();
    }
  }

  isVisible(value: number): boolean {
    return !this.#hidden.has(value);
  }

  /** The values that are drawn black and white, and those that there are; undefined before there is a volume. */
  get greys():
    { readonly low: number; readonly high: number; readonly min: number; readonly max: number } | undefined {
    const [volume] = this.#panes[0]?.niivue.volumes ?? [];
    if (!volume) return undefined;
    const { cal_min: low = 0, cal_max: high = 1, global_min: min = low, global_max: max = high } = volume;
    return { low, high, min, max };
  }

  setGreys(low: number, high: number): void {
    for (const { niivue } of this.#panes) {
      const [volume] = niivue.volumes;
      if (!volume) continue;
      volume.cal_min = low;
      volume.cal_max = high;
      niivue.updateGLVolume();
    }
  }

  #free(): void {
    for (const { niivue } of this.#panes) free(niivue);
    this.#panes.length = 0;
    this.#base = undefined;
    fill(this.#figures);
  }

  /** After what is being drawn. */
  dispose(): void {
    this.#disposed = true;
    this.#busy.stop();
    this.#turn = this.#turn.catch(() => undefined).then(() => this.#free());
  }
}

/** The slider for the overlays of a view. */
export function opacitySlider(viewer: { opacity: number }): HTMLElement {
  const slider = el('input', { type: 'range', min: '0', max: '1', step: '0.05', id: 'opacity' });
  slider.value = String(viewer.opacity);
  slider.addEventListener('input', () => (viewer.opacity = slider.valueAsNumber));
  return el('label', { className: 'inline' }, 'Opacity of labels ', slider);
}
