/** NiiVue: one or two linked pictures of the same volume, each with its own label overlay. */
import type { Niivue } from '@niivue/niivue';
import { classColor, cssColor, readNifti, sourceName, stemOf, writeNifti } from 'unet3d-gpu/worker';
import { el, fill, swatch } from './dom.ts';
import type { VolumeFile } from './state.ts';

export interface Picture {
  readonly title: string;
  readonly overlay: VolumeFile | undefined;
}

interface Pane {
  readonly niivue: Niivue;
  readonly title: HTMLElement;
}

/** Loaded when there is something to draw: it is larger than everything else on the page. */
const library = () => import('@niivue/niivue');

/** What NiiVue opens a volume by. */
const opened = (volume: VolumeFile) => ({
  ...('header' in volume ? { file: volume.header, urlImgData: volume.image } : { file: volume }),
  name: sourceName(volume),
});

/** What NiiVue cannot read, such as gzip of several members, is written anew for it. */
async function loaded(
  volume: VolumeFile,
  options: { readonly opacity?: number; readonly colormap?: string },
) {
  const { NVImage } = await library();
  try {
    return await NVImage.loadFromFile({ ...opened(volume), ...options });
  } catch {
    const read = 'header' in volume ? readNifti(volume.header, { image: volume.image }) : readNifti(volume);
    const bytes = (await writeNifti(await read, { gzip: false })) as Uint8Array<ArrayBuffer>;
    const name = `${stemOf(sourceName(volume))}.nii`;
    return NVImage.loadFromFile({ file: new File([bytes], name), name, ...options });
  }
}

/** Colours of the labels, background and unknown voxels clear. */
function colormap(names: readonly string[], unknown: number | undefined) {
  const values = [...names.keys(), ...(unknown === undefined ? [] : [unknown])];
  const isClear = (value: number): boolean => value === 0 || value === unknown;
  const colors = values.map((value) => (isClear(value) ? ([0, 0, 0] as const) : classColor(value)));
  const channel = (index: 0 | 1 | 2): number[] => colors.map((color) => color[index]);
  return {
    R: channel(0),
    G: channel(1),
    B: channel(2),
    A: values.map((value) => (isClear(value) ? 0 : 255)),
    I: values,
    labels: values.map((value) => names[value] ?? 'unknown'),
  };
}

export function legend(names: readonly string[]): HTMLElement {
  return el(
    'ul',
    { className: 'legend', 'aria-label': 'Colours of the classes' },
    names.slice(1).map((name, index) => el('li', {}, swatch(cssColor(classColor(index + 1))), name)),
  );
}

export class Viewer {
  readonly element = el('div', { className: 'viewer' });
  readonly #panes: Pane[] = [];
  #opacity = 0.5;
  #turn: Promise<void> = Promise.resolve();
  #base: VolumeFile | undefined;

  /**
   * Draws after what is being drawn; the newest wish wins where several wait.
   * @param unknown value of the overlays' unknown voxels, which stay clear
   */
  show(
    base: VolumeFile,
    pictures: readonly Picture[],
    names: readonly string[],
    unknown?: number,
  ): Promise<void> {
    this.#turn = this.#turn.catch(() => undefined).then(() => this.#draw(base, pictures, names, unknown));
    return this.#turn;
  }

  async #draw(
    base: VolumeFile,
    pictures: readonly Picture[],
    names: readonly string[],
    unknown: number | undefined,
  ): Promise<void> {
    if (this.#panes.length !== pictures.length) {
      fill(this.element);
      this.#panes.length = 0;
      this.#base = undefined;
      for (const { title } of pictures) this.#panes.push(await this.#pane(title));
      const [first, second] = this.#panes;
      if (first && second) {
        first.niivue.broadcastTo([second.niivue], { '2d': true, '3d': true });
        second.niivue.broadcastTo([first.niivue], { '2d': true, '3d': true });
      }
    }
    for (const [index, { title, overlay }] of pictures.entries()) {
      const pane = this.#panes[index]!;
      pane.title.textContent = title;
      const { niivue } = pane;
      const first = this.#base === base ? 1 : 0;
      while (niivue.volumes.length > first) niivue.removeVolumeByIndex(niivue.volumes.length - 1);
      if (first === 0) niivue.addVolume(await loaded(base, { colormap: 'gray' }));
      if (overlay) {
        const image = await loaded(overlay, { opacity: this.#opacity });
        image.setColormapLabel(colormap(names, unknown));
        niivue.addVolume(image);
      }
      niivue.updateGLVolume();
    }
    this.#base = base;
  }

  async #pane(title: string): Promise<Pane> {
    const { Niivue, SHOW_RENDER, SLICE_TYPE } = await library();
    const canvas = el('canvas', { 'aria-label': `Slices and 3-D view: ${title}`, role: 'img' });
    const heading = el('h3', {}, title);
    this.element.append(el('figure', {}, heading, el('div', { className: 'canvas' }, canvas)));
    const niivue = new Niivue({
      backColor: [0, 0, 0, 1],
      show3Dcrosshair: false,
      // Thin on volumes of any size.
      crosshairWidth: 0.4,
      crosshairWidthUnit: 'percent',
      crosshairColor: [1, 1, 1, 0.6],
      // As in the report: the patient's right, or front, at the left.
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      dragAndDropEnabled: false,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      loadingText: '',
      logLevel: 'error',
      isColorbar: false,
    });
    await niivue.attachToCanvas(canvas, false);
    niivue.setSliceType(SLICE_TYPE.MULTIPLANAR);
    return { niivue, title: heading };
  }

  set opacity(value: number) {
    this.#opacity = value;
    for (const { niivue } of this.#panes) if (niivue.volumes.length > 1) niivue.setOpacity(1, value);
  }

  get opacity(): number {
    return this.#opacity;
  }
}

/** The slider for the overlays of a view. */
export function opacitySlider(viewer: { opacity: number }): HTMLElement {
  const slider = el('input', { type: 'range', min: '0', max: '1', step: '0.05', id: 'opacity' });
  slider.value = String(viewer.opacity);
  slider.addEventListener('input', () => (viewer.opacity = slider.valueAsNumber));
  return el('label', { className: 'inline' }, 'Opacity of labels ', slider);
}
