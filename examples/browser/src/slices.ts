/**
 * A case in three planes, its truth above what the network makes of it. Drawn by the processor: where WebGL has to
 * share a busy GPU with the training, the whole page would wait for it.
 */
import { classColor, ignored, sliceValues, viewOf, type LabelledCase, type View } from 'unet3d-gpu/worker';
import type { DataResults } from './data.worker.ts';
import { el, nextTask } from './dom.ts';
import { planes } from './planes.ts';

/** CSS pixels that a picture may take. */
const room = { width: 280, height: 190 };

interface Picture {
  readonly canvas: HTMLCanvasElement;
  readonly labels: () => Uint8Array | undefined;
}

interface Column {
  readonly view: View;
  readonly slider: HTMLInputElement;
  readonly pictures: readonly Picture[];
}

export class CaseSlices {
  readonly element: HTMLElement;
  readonly #image: Float32Array;
  readonly #truth: Uint8Array;
  readonly #grey: readonly [number, number];
  readonly #columns: readonly Column[];
  readonly #title = el('h3');
  #predicted: Uint8Array | undefined;
  #opacity = 0.5;
  /** By label value, for this opacity. */
  #colors: number[] = [];

  /** @param survey the window of greys and the slice of each plane to begin with */
  constructor({ id, image, label, shape, spacing }: LabelledCase, survey: DataResults['survey']) {
    this.#image = image.subarray(0, label.length);
    this.#truth = label;
    this.#grey = survey.grey;
    const rows: readonly [name: string, labels: Picture['labels']][] = [
      ['Truth', () => label],
      ['Prediction', () => this.#predicted],
    ];
    this.#columns = planes.map((plane, index): Column => {
      const view = viewOf({ data: label, shape, spacing }, plane);
      const slider = el('input', {
        type: 'range',
        min: '0',
        max: String(view.slices - 1),
        'aria-label': `Slice, ${plane}`,
        oninput: () => this.#draw(column),
      });
      slider.value = String(survey.slices[index]);
      const pictures = rows.map(([name, labels]): Picture => {
        const canvas = el('canvas', { role: 'img', 'aria-label': `${name}, ${plane}` });
        return { canvas, labels };
      });
      const column: Column = { view, slider, pictures };
      return column;
    });
    const row = (index: number) => this.#columns.map(({ pictures }) => pictures[index]!.canvas);
    this.element = el(
      'div',
      { className: 'slices' },
      el('h3', {}, `Truth of ${id}`),
      row(0),
      this.#title,
      row(1),
      this.#columns.map(({ slider }, index) => el('label', { className: 'quiet' }, planes[index], slider)),
    );
  }

  /** Draws a plane at a time, so that the page stays free in between. */
  async show(title: string, predicted: Uint8Array): Promise<void> {
    this.#title.textContent = title;
    this.#predicted = predicted;
    for (const column of this.#columns) {
      await nextTask();
      this.#draw(column);
    }
  }

  set opacity(value: number) {
    this.#opacity = value;
    this.#colors = [];
    for (const column of this.#columns) this.#draw(column);
  }

  get opacity(): number {
    return this.#opacity;
  }

  #draw({ view, slider, pictures }: Column): void {
    const slice = slider.valueAsNumber;
    const [low, high] = this.#grey;
    const grey = pixels(view, sliceValues(this.#image, view, slice), (value) => {
      const shade = Math.min(255, Math.max(0, Math.round((255 * (value - low)) / (high - low))));
      return packed([shade, shade, shade], 1);
    });
    const truth = sliceValues(this.#truth, view, slice);
    const [width, height] = [view.columns * view.pixelWidth, view.rows * view.pixelHeight];
    const scale = Math.min(room.width / width, room.height / height);
    for (const { canvas, labels } of pictures) {
      canvas.style.width = `${width * scale}px`; // at most: its height follows
      canvas.width = Math.round(width * scale * devicePixelRatio);
      canvas.height = Math.round(height * scale * devicePixelRatio);
      const paint = context(canvas);
      paint.imageSmoothingQuality = 'high';
      paint.drawImage(grey, 0, 0, canvas.width, canvas.height);
      const found = labels();
      if (found) {
        // Where the truth is unknown, nothing is shown of either.
        const color = (label: number, at: number): number =>
          label === 0 || truth[at] === ignored
            ? 0
            : (this.#colors[label] ??= packed(classColor(label), this.#opacity));
        paint.imageSmoothingEnabled = false;
        const overlay = pixels(view, sliceValues(found, view, slice), color);
        paint.drawImage(overlay, 0, 0, canvas.width, canvas.height);
      }
      paint.fillStyle = '#fff';
      paint.font = `${12 * devicePixelRatio}px sans-serif`;
      paint.fillText(view.leftEdge, 5 * devicePixelRatio, 16 * devicePixelRatio);
    }
  }
}

/** A 2-D context that stays off the GPU. */
const context = (canvas: HTMLCanvasElement): CanvasRenderingContext2D =>
  canvas.getContext('2d', { willReadFrequently: true })!;

/** Red, green, blue and opacity in the order of an ImageData's bytes. */
const packed = ([red, green, blue]: readonly [number, number, number], opacity: number): number =>
  ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** A canvas with one pixel per value of a slice. */
function pixels(
  { columns, rows }: View,
  values: Float32Array,
  color: (value: number, at: number) => number,
): HTMLCanvasElement {
  const picture = new ImageData(columns, rows);
  const colors = new Uint32Array(picture.data.buffer);
  for (let at = 0; at < colors.length; at++) colors[at] = color(values[at]!, at);
  const canvas = el('canvas', { width: columns, height: rows });
  context(canvas).putImageData(picture, 0, 0);
  return canvas;
}
