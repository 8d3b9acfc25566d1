/** What a person can set of a viewer: planes, greys, opacity, and which classes are seen. */
import { classColor, cssColor } from 'unet3d-gpu/worker';
import { el, select, swatch } from './dom.ts';
import { layouts, opacitySlider, type Layout, type Viewer } from './viewer.ts';

const layoutNames: Record<Layout, string> = {
  multiplanar: 'all planes and 3-D',
  axial: 'axial',
  coronal: 'coronal',
  sagittal: 'sagittal',
  rendering: '3-D',
};

export function viewerControls(viewer: Viewer, names: readonly string[]): HTMLElement {
  return el(
    'div',
    {},
    el(
      'div',
      { className: 'row' },
      el(
        'label',
        { className: 'inline' },
        'Planes ',
        select(
          layouts.map((layout) => [layout, layoutNames[layout]] as const),
          viewer.layout,
          (layout) => (viewer.layout = layout as Layout),
        ),
      ),
      greySliders(viewer),
      opacitySlider(viewer),
    ),
    el(
      'fieldset',
      { className: 'legend' },
      el('legend', {}, 'Classes that are seen'),
      names.slice(1).map((name, index) => {
        const value = index + 1;
        const box = el('input', { type: 'checkbox', checked: viewer.isVisible(value) });
        box.addEventListener('change', () => viewer.setVisible(value, box.checked));
        return el('label', { className: 'inline' }, box, swatch(cssColor(classColor(value))), name);
      }),
    ),
  );
}

/** The window of greys; each volume begins with its own. */
function greySliders(viewer: Viewer): HTMLElement[] {
  const slider = (): HTMLInputElement => el('input', { type: 'range', step: 'any' });
  const [low, high] = [slider(), slider()];
  const set = (): void =>
    viewer.setGreys(low.valueAsNumber, Math.max(high.valueAsNumber, low.valueAsNumber + 1e-6));
  const refresh = (): void => {
    const greys = viewer.greys;
    for (const [control, value] of [
      [low, greys?.low],
      [high, greys?.high],
    ] as const) {
      control.disabled = !greys;
      if (!greys) continue;
      control.min = String(greys.min);
      control.max = String(greys.max);
      control.value = String(value);
    }
  };
  for (const control of [low, high]) control.addEventListener('input', set);
  viewer.onVolume = refresh;
  refresh();
  return [
    el('label', { className: 'inline' }, 'Black at ', low),
    el('label', { className: 'inline' }, 'White at ', high),
  ];
}
