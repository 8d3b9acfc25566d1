/** All that is kept as one file, to go on with elsewhere. */
import { ask } from './ask.ts';
import type { DataView } from './data-view.ts';
import { drawnScans } from './drawn-scans.ts';
import { button, complain, counted, download, el, fill, lengthy, messageOf, picker } from './dom.ts';
import { state } from './state.ts';

/** Loaded when a project is saved or opened. */
const projects = () => import('./kept/project.ts');

/** Asks whether drawings of a project may take the place of earlier ones that are here. */
async function mayReplace(scans: readonly string[]): Promise<boolean> {
  const answer = await ask(
    `Something else is drawn here on ${counted(scans.length, 'scan')} of the project`,
    [
      ['here', 'Keep what is drawn here'],
      ['project', "Replace it by the project's"],
    ],
    `The project's drawings are newer. In their place, what is drawn here would be lost: ${scans.join(', ')}.`,
  );
  return answer === 'project';
}

/** What a project has of the page's data, and gives back. */
export type PageData = Pick<DataView, 'atHand' | 'findDrawings' | 'openCases' | 'openDrawn'>;

let panel: { readonly element: HTMLElement; readonly update: () => Promise<void> } | undefined;

/** The panel, which is one however often it is shown: what goes on in it, and what came of it, stays. */
export function projectPanel(data: PageData): HTMLElement {
  panel ??= makePanel(data);
  void panel.update();
  return panel.element;
}

function makePanel({ atHand, findDrawings, openCases, openDrawn }: PageData): NonNullable<typeof panel> {
  const withImages = el('input', { type: 'checkbox', checked: true });
  const said = el('div', { role: 'status' });
  const scans = el('p', { className: 'row' });

  const offerScans = async (): Promise<void> => fill(scans, await drawnScans(openDrawn));

  const save = lengthy('Save as a project', async (signal) => {
    const { run } = state;
    const { projectArchive } = await projects();
    const archive = await projectArchive(withImages.checked, signal, atHand(), run);
    const stream = archive.pipeThrough(new TransformStream(), { signal });
    download('project.zip', await new Response(stream).blob());
    if (run && !run.isKept)
      complain(
        `The project is without the training ${run.record.name}, which this browser could not keep: download its network under "Train".`,
      );
  });

  let turn = Promise.resolve();
  /** Opens a project after the one that is being opened. */
  function takeNext(archive: File, images?: readonly File[]): void {
    turn = turn.then(() => take(archive, images));
  }

  async function take(archive: File, images: readonly File[] = []): Promise<void> {
    const stop = new AbortController();
    fill(
      said,
      el(
        'p',
        { className: 'row' },
        `Opening ${archive.name}`,
        button('Cancel', () => stop.abort()),
      ),
    );
    try {
      const { openProject } = await projects();
      const opened = await openProject(archive, images, stop.signal, mayReplace);
      const { runs, known, withoutImages, drawings, withoutScans, cases, withoutCases } = opened;
      const brought = cases?.dataset.cases.length ?? 0;
      const already =
        known > 0 && ` ${counted(known, 'training')} of it ${known === 1 ? 'was' : 'were'} here already.`;
      fill(
        said,
        el(
          'p',
          {},
          `${counted(runs, 'training')} of ${archive.name} ${runs === 1 ? 'is' : 'are'} kept here now.`,
          already,
          drawings > 0 && ` ${counted(drawings, 'drawing')} came with it.`,
          brought > 0 &&
            ` ${counted(brought, 'case')} that ${brought === 1 ? 'was' : 'were'} at hand come back under "Data".`,
        ),
        withoutImages + withoutScans + withoutCases > 0 && [
          withoutImages > 0 &&
            el(
              'p',
              {},
              `The images of ${counted(withoutImages, 'training')} are not in the file. Its networks segment without them; to go on with a training or to report on it, choose the folder that holds them.`,
            ),
          withoutScans > 0 &&
            el(
              'p',
              {},
              `The scans of ${counted(withoutScans, 'drawing')} are not in the file: choose the folder that holds them, or add them under "Data".`,
            ),
          withoutCases > 0 &&
            el(
              'p',
              {},
              `The images of ${counted(withoutCases, 'case')} that ${withoutCases === 1 ? 'was' : 'were'} at hand are not in the file: choose the folder that holds them.`,
            ),
          picker('Choose the folder with the images', { folder: true }, (files) => takeNext(archive, files)),
        ],
      );
      await offerScans();
      if (cases && brought > 0) await openCases(cases);
      if (drawings > 0) await findDrawings();
    } catch (error) {
      fill(
        said,
        !stop.signal.aborted && el('p', { className: 'error' }, `${archive.name}: ${messageOf(error)}`),
      );
    }
  }

  const element = el(
    'section',
    { className: 'panel', 'aria-label': 'Project' },
    el('h2', {}, 'Take it elsewhere'),
    el(
      'p',
      { className: 'quiet' },
      'A project holds all trainings above with their networks, settings and curves, all that is drawn under "Annotate" with its scans, and the cases that are at hand under "Data" with their labels, to be opened in another browser.',
    ),
    el(
      'div',
      { className: 'row' },
      save,
      el('label', { className: 'inline' }, withImages, 'with images'),
      picker('Open a project', { accept: '.zip' }, ([file]) => file && takeNext(file)),
    ),
    said,
    scans,
  );
  return { element, update: offerScans };
}
