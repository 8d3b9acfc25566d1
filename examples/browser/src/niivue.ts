/** What all pictures by NiiVue have in common: how they are drawn, how volumes are opened, and how all of it is freed. */
import type { Niivue, NVImage } from '@niivue/niivue';
import { classColor, sourceName } from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { el } from './dom.ts';
import type { VolumeFile } from './state.ts';

/** Loaded when there is something to draw: it is larger than everything else on the page. */
export const library = () => import('@niivue/niivue');

/** Of every picture; as in the report, the patient's right, or front, is at the left. */
export const pictureOptions = {
  backColor: [0, 0, 0, 1] as [number, number, number, number],
  show3Dcrosshair: false,
  crosshairColor: [1, 1, 1, 0.6] as [number, number, number, number],
  crosshairWidthUnit: 'percent' as const,
  isRadiologicalConvention: true,
  sagittalNoseLeft: true,
  dragAndDropEnabled: false,
  loadingText: '',
  logLevel: 'error' as const,
  isColorbar: false,
};

/** In percent of what is shown: thin on volumes of any size, but a pixel also in the small pictures of a phone. */
export const thinCrosshair = 0.6;

let onProcessor: boolean | undefined;

/** Whether WebGL runs on a processor, where the page's thread has to wait for it. */
export function drawsOnProcessor(): boolean {
  if (onProcessor !== undefined) return onProcessor;
  const context = el('canvas').getContext('webgl2');
  const info = context?.getExtension('WEBGL_debug_renderer_info');
  const renderer: unknown = info && context!.getParameter(info.UNMASKED_RENDERER_WEBGL);
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  return (onProcessor = /swiftshader|llvmpipe|softpipe|software|basic render/i.test(String(renderer)));
}

/** Voxels that are drawn, with several textures of each. */
export const mostVoxels = (): number => (drawsOnProcessor() ? 2 ** 21 : 2 ** 24);

/** Takes volumes away, the last one first, until so many are left. */
export function keepVolumes(niivue: Niivue, count: number): void {
  while (niivue.volumes.length > count) niivue.removeVolumeByIndex(niivue.volumes.length - 1);
}

/** Frees volumes, listeners and the WebGL context, of which a page has few. */
export function free(niivue: Niivue): void {
  keepVolumes(niivue, 0);
  const context = niivue.canvas?.getContext('webgl2');
  niivue.cleanup();
  context?.getExtension('WEBGL_lose_context')?.loseContext();
}

/** What NiiVue opens a volume by. */
const opened = (volume: VolumeFile) => ({
  ...('header' in volume ? { file: volume.header, urlImgData: volume.image } : { file: volume }),
  name: sourceName(volume),
});

/** What NiiVue cannot read, such as gzip of several members, is written anew for it. */
export async function loaded(
  volume: VolumeFile,
  options: { readonly opacity?: number; readonly colormap?: string },
): Promise<NVImage> {
  const { NVImage } = await library();
  try {
    return await NVImage.loadFromFile({ ...opened(volume), ...options });
  } catch {
    const file = await dataJob('plain', { volume });
    return NVImage.loadFromFile({ file, name: file.name, ...options });
  }
}

/**
 * Colours of the labels, of which NiiVue makes a texture from the lowest value to the highest: background, unknown voxels,
 * hidden classes and values without a name are clear.
 *
 * NiiVue samples it linearly and never below 2/256 of its width, so background has values below it where the table is
 * wide; a width of a power of two has each value hit the middle of its colour exactly.
 */
export function colormap(
  names: readonly string[],
  isHidden: (value: number) => boolean,
  unknown: number | undefined,
) {
  let width = 2;
  const below = (): number => width >> 7;
  while (below() + names.length >= width) width *= 2;
  const values = Array.from({ length: width }, (_, at) => at - below());
  const isClear = (value: number): boolean =>
    value <= 0 || value >= names.length || value === unknown || isHidden(value);
  const colors = values.map((value) => (isClear(value) ? ([0, 0, 0] as const) : classColor(value)));
  const channel = (index: 0 | 1 | 2): number[] => colors.map((color) => color[index]);
  return {
    R: channel(0),
    G: channel(1),
    B: channel(2),
    A: values.map((value) => (isClear(value) ? 0 : 255)),
    I: values,
  };
}
