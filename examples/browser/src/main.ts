/** The page: seven views behind tabs, and what has to be said above all of them. */
import './style.css';
import { annotateView } from './annotate/annotate-view.ts';
import { isWriting } from './annotate/session.ts';
import { dataView } from './data-view.ts';
import { device } from './device.ts';
import { attempt, button, complain, el, fill, messageOf, notice, unsaid } from './dom.ts';
import { explainView } from './explain-view.ts';
import { cutOff, offerToResume } from './interrupted.ts';
import { claimed, keptRuns, tidy } from './kept/runs.ts';
import { seeView } from './see-view.ts';
import { trainView } from './train-view.ts';
import { openLinkedModel } from './linked-model.ts';
import { modelsView } from './models-view.ts';
import { workOffline } from './offline.ts';
import { opening, stopOpening } from './opening.ts';
import { onChange, state, tabsRun } from './state.ts';
import { isOnlyHere, reopen } from './run-at-hand.ts';
import { useView } from './use-view.ts';
import type { View } from './view.ts';

const page = document.querySelector<HTMLElement>('#page')!;
const tabs = document.querySelector<HTMLElement>('#tabs')!;

const data = dataView(open);
const views: Record<string, () => View> = {
  Data: () => data,
  See: seeView,
  Annotate: () => annotateView((labels) => data.annotate(labels), open),
  Train: () => trainView(() => open('Use'), data.findDrawings),
  Use: useView,
  Models: () => modelsView(openRun, { ...data, openDrawn }),
  Explain: explainView,
};

let shown: View | undefined;

/** Shows a view; the browser's Back leads to the one before. */
function open(name: string): void {
  if (name !== wanted()) history.pushState(null, '', `#${name}`);
  show(name);
}

const wanted = (): string => location.hash.slice(1);

function show(name: string): void {
  for (const tab of tabs.children) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute('aria-selected', String(chosen));
    (tab as HTMLElement).tabIndex = chosen ? 0 : -1;
  }
  page.setAttribute('aria-labelledby', `tab-${name}`);
  document.title = `${name} – 3D U-Net`;
  shown?.dispose();
  shown = views[name]!();
  fill(page, el('h2', { className: 'unseen' }, name), shown.element);
}

for (const name of Object.keys(views))
  tabs.append(button(name, () => open(name), { id: `tab-${name}`, role: 'tab', 'aria-controls': 'page' }));
tabs.addEventListener('keydown', (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const isBrowsers = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey; // as Alt and an arrow for Back
  if (step === undefined || isBrowsers) return;
  const all = [...tabs.children] as HTMLElement[];
  const next = all.at((all.indexOf(document.activeElement as HTMLElement) + step) % all.length);
  next?.focus();
  next?.click();
});

/** Says what is being opened, and how to end that. */
function tellOpening(): void {
  let told = '';
  let box: HTMLElement | undefined;
  let timer = 0;
  onChange(() => {
    if (opening.name === told) return;
    told = opening.name;
    clearTimeout(timer);
    box?.remove();
    if (told === '') return;
    timer = window.setTimeout(() => {
      box = notice('', el('p', { role: 'status' }, `Opening ${told}`), button('Cancel', stopOpening));
    }, unsaid);
  });
}

/** Opens a kept training, unless that is cancelled; where the page has no data, they are those of the training. */
async function bringBack(id: string): Promise<boolean> {
  if (!(await reopen(id))) return false;
  const { run } = state;
  if (run && run.cases.length > 0 && state.cases.length === 0) void data.restore(run);
  return true;
}

async function openRun(id: string): Promise<void> {
  if (await bringBack(id)) open('Train');
}

/** Opens the scans that were drawn on. */
async function openDrawn(): Promise<void> {
  open('Data');
  await data.openDrawn();
}

/** Opens the training that this tab had before a reload where that is finished, and offers one that was cut off. */
async function comeBack(): Promise<void> {
  const elsewhere = await claimed();
  const runs = await keptRuns().catch(() => []); // "Models" says why
  const before = runs.find(({ id }) => id === tabsRun());
  if (before?.finished) await attempt(`Open ${before.name}`, () => bringBack(before.id));
  const unfinished = cutOff(runs, elsewhere, tabsRun());
  if (unfinished) offerToResume(unfinished, openRun);
  await tidy().catch(() => undefined); // the next visit tries again
}

// Files that miss the drop zone must not replace the page.
for (const kind of ['dragover', 'drop']) addEventListener(kind, (event) => event.preventDefault());
addEventListener('unhandledrejection', ({ reason }) => complain(messageOf(reason)));

document.querySelector('.skip')!.addEventListener('click', (event) => {
  event.preventDefault(); // the address tells the view
  page.focus();
});
addEventListener('popstate', () => show(wanted() in views ? wanted() : 'Data'));
addEventListener('beforeunload', (event) => {
  const { run, results } = state;
  const isLost = (run && isOnlyHere(run)) || results.some(({ saved }) => !saved) || data.lost().length > 0;
  if (isLost || isWriting()) event.preventDefault();
});

tellOpening();
show(wanted() in views ? wanted() : 'Data');
void device().then((found) => {
  const kind = found?.software ? 'Processor' : 'GPU';
  document.querySelector('#device')!.textContent = found ? `${kind}: ${found.name}` : 'No WebGPU';
  if (!found)
    notice(
      'error',
      el('p', {}, 'This browser offers no WebGPU: files can be looked at, but not trained on or segmented.'),
      button('What to do', () => open('Explain')),
    );
});
// The model by link stays, whatever the tab had before.
void comeBack().finally(() => void openLinkedModel(() => open('Use')));
void workOffline();
