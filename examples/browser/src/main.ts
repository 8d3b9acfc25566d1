/** The page: five views behind tabs, and what has to be said above all of them. */
import './style.css';
import { dataView } from './data-view.ts';
import { device } from './device.ts';
import { button, complain, el, fill, messageOf, notice } from './dom.ts';
import { explainView } from './explain-view.ts';
import { forgetSession, interrupted, type Session } from './session.ts';
import { seeView } from './see-view.ts';
import { state } from './state.ts';
import { trainView } from './train-view.ts';
import { start } from './training.ts';
import { useView } from './use-view.ts';

const page = document.querySelector<HTMLElement>('#page')!;
const tabs = document.querySelector<HTMLElement>('#tabs')!;

const data = dataView(() => open('See'));
const views: Record<string, () => HTMLElement> = {
  Data: () => data,
  See: seeView,
  Train: () => trainView(() => open('Use')),
  Use: useView,
  Explain: explainView,
};

function open(name: string): void {
  for (const tab of tabs.children) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute('aria-selected', String(chosen));
    (tab as HTMLElement).tabIndex = chosen ? 0 : -1;
  }
  page.setAttribute('role', 'tabpanel');
  page.setAttribute('aria-labelledby', `tab-${name}`);
  fill(page, views[name]!());
  history.replaceState(null, '', `#${name}`);
}

for (const name of Object.keys(views))
  tabs.append(button(name, () => open(name), { id: `tab-${name}`, role: 'tab', 'aria-controls': 'page' }));
tabs.addEventListener('keydown', (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  const all = [...tabs.children] as HTMLElement[];
  const next = all.at((all.indexOf(document.activeElement as HTMLElement) + step) % all.length);
  next?.focus();
  next?.click();
});

/** Offers to go on with a training that a reload or a crash has cut off. */
function offer(session: Session): void {
  const begun = session.started.toLocaleString();
  const box = notice(
    '',
    el('p', {}, `A training on ${session.name}, started ${begun}, was interrupted.`),
    button(
      'Resume it',
      () => {
        box.remove();
        Object.assign(state, {
          name: session.name,
          cases: [...session.cases],
          labels: [...session.labels],
          ignoreLabel: session.ignoreLabel,
          settings: session.settings,
          preprocessing: session.preprocessing,
        });
        void start(session);
        open('Train');
      },
      { className: 'primary' },
    ),
    button('Discard it', () => {
      box.remove();
      return forgetSession();
    }),
  );
}

// Files that miss the drop zone must not replace the page.
for (const kind of ['dragover', 'drop']) addEventListener(kind, (event) => event.preventDefault());
addEventListener('unhandledrejection', ({ reason }) => complain(messageOf(reason)));

const wanted = location.hash.slice(1);
open(wanted in views ? wanted : 'Data');
void device().then((found) => {
  const kind = found?.software ? 'Software adapter' : 'GPU';
  document.querySelector('#device')!.textContent = found ? `${kind}: ${found.name}` : 'No WebGPU';
  if (!found)
    notice(
      'error',
      el('p', {}, 'This browser offers no WebGPU: files can be looked at, but not trained on or segmented.'),
      button('What to do', () => open('Explain')),
    );
});
void interrupted().then((session) => session && offer(session));
