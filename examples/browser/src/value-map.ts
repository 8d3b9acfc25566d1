/** A form that says which class each value of the labels means, where values are not those of classes. */
import { button, counted, el, fill, select } from './dom.ts';
import { unknownVoxel } from './annotate/drawing.ts';

/**
 * @param values with the number of cases that hold each
 * @param apply is told the class of each value
 */
export function valueMap(
  values: ReadonlyMap<number, number>,
  apply: (classes: ReadonlyMap<number, number>) => unknown,
): HTMLElement {
  // Foreground values in order, as the classes 1, 2, 3 …; what is negative or not finite was hardly meant as one.
  const classes = new Map<number, number>();
  for (const value of values.keys())
    classes.set(value, value > 0 ? [...classes.values()].filter((known) => known > 0).length + 1 : 0);
  const most = [...classes.values()].filter((known) => known > 0).length;
  const options: [string, string][] = [
    ['0', 'background'],
    ...Array.from({ length: most }, (_, index): [string, string] => [`${index + 1}`, `class ${index + 1}`]),
    [String(unknownVoxel), 'unknown: left out'],
  ];
  const problem = el('p', { className: 'error', role: 'alert' });
  const check = (): boolean => {
    const used = new Set([...classes.values()].filter((known) => known > 0 && known < unknownVoxel));
    const gap = Array.from({ length: used.size }, (_, index) => index + 1).find((known) => !used.has(known));
    fill(
      problem,
      used.size === 0
        ? 'One value at least has to be a class.'
        : gap !== undefined && `No value is class ${gap}: number the classes without gaps.`,
    );
    return used.size > 0 && gap === undefined;
  };
  return el(
    'section',
    { className: 'panel', 'aria-label': 'Values of the labels' },
    el('h2', {}, 'Which class is which value?'),
    el('p', { className: 'quiet' }, 'Labels hold other values than classes numbered 0, 1, 2 … without gaps.'),
    el(
      'ul',
      { className: 'values' },
      [...values].map(([value, cases]) =>
        el(
          'li',
          {},
          el('span', {}, String(Number(value.toPrecision(6)))),
          el('small', {}, `in ${counted(cases, 'case')}`),
          select(
            options,
            String(classes.get(value)),
            (chosen) => {
              classes.set(value, Number(chosen));
              check();
            },
            { 'aria-label': `Meaning of ${Number(value.toPrecision(6))}` },
          ),
        ),
      ),
    ),
    problem,
    button('Use these classes', () => check() && apply(classes), { className: 'primary' }),
  );
}
