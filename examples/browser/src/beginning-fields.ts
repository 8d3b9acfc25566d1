/** The settings of what a training begins with: new weights, or the network that is open. */
import { beginWith, openStart, type Chosen } from './beginning.ts';
import { attempt, el, field, select, type Child } from './dom.ts';
import { state } from './state.ts';

const heads: [Chosen['heads'], string][] = [
  ['auto', 'kept for the same classes'],
  ['keep', 'kept'],
  ['new', 'new'],
];

/** @param redraw shows the settings as they are then */
export function beginningFields(redraw: () => void): Child {
  const start = openStart();
  if (start === undefined) return false;
  const { beginning, modelName } = state;
  const set = (chosen: Chosen | undefined): void =>
    void attempt('Begin with this network', () => beginWith(chosen).then(redraw));
  if (typeof start === 'string') {
    if (beginning) set(undefined); // it was chosen for other cases
    return el('p', { className: 'quiet' }, `No training can begin with ${modelName}: ${start}.`);
  }
  const prepared = start.preprocessing
    ? 'Cases are prepared as for it.'
    : 'It does not tell how its cases were prepared: these are prepared as "Data" tells.';
  return [
    field(
      'Begin with',
      select(
        [
          ['new', 'new weights'],
          ['open', 'the open network'],
        ],
        beginning ? 'open' : 'new',
        (choice) => set(choice === 'open' ? { heads: 'auto' } : undefined),
      ),
      `The open network is ${modelName}. ${beginning ? prepared : ''}`,
    ),
    beginning &&
      field(
        'Its last layer',
        select(heads, beginning.heads, (choice) => set({ ...beginning, heads: choice as Chosen['heads'] })),
        'It tells the classes from each other.',
      ),
    beginning &&
      el(
        'label',
        { className: 'inline' },
        el('input', {
          type: 'checkbox',
          checked: beginning.freeze !== undefined,
          onchange: () => {
            const { heads: chosen } = beginning;
            set(beginning.freeze ? { heads: chosen } : { heads: chosen, freeze: 'encoder' });
          },
        }),
        'Keep the encoder as it is: only what follows it learns',
      ),
  ];
}
