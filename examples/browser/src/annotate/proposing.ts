/** What the open model makes of cases, as proposals, and of which it is least sure. */
import type { Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { messageOf } from '../dom.ts';
import { KeptModel } from '../kept-model.ts';
import { channelCount, classCount } from '../planning.ts';
import { namesOf, segmented } from '../segmenting.ts';
import { changed, inTraining, state, type OpenModel, type PageCase } from '../state.ts';
import { isDone } from './annotations.ts';

/** How unsure a model is of a case: 0 to 1, and the voxel of the file where most. */
export interface Doubt {
  readonly mean: number;
  readonly voxel: Size3;
}

let doubts = new Map<string, Doubt>();
let doubtsOf: OpenModel | undefined;

/** What is being done, for the line that says it. */
export const proposing = { status: '', problem: '' };
let controller: AbortController | undefined;

/** Why the open model proposes nothing here; empty where it does. */
export function obstacle(): string {
  const { model } = state;
  if (inTraining()) return 'The network is training; it proposes outlines when that is paused or done.';
  if (!model) return 'Proposals come once a network is trained here, or a model is opened under "Use".';
  const { inChannels, classes } = model.config;
  const channels = state.report ? channelCount() : (state.cases[0]?.images.length ?? 1);
  if (inChannels !== channels && state.report)
    return `The open model reads ${inChannels} images of a case; there are ${channels}.`;
  if (!state.regions && classes > classCount())
    return `The open model knows ${classes} classes, and ${classCount()} are named here: add the others.`;
  return '';
}

export function doubtOf(id: string): Doubt | undefined {
  return doubtsOf === state.model ? doubts.get(id) : undefined;
}

/** Cases that are not done, those first of which the model is least sure. */
export function worthAnnotating(): PageCase[] {
  const open = state.cases.filter((item) => !isDone(item));
  return open.sort((a, b) => (doubtOf(b.id)?.mean ?? -1) - (doubtOf(a.id)?.mean ?? -1));
}

/** Proposes outlines for cases, one after another; those that have them already are left out. */
export async function propose(items: readonly PageCase[]): Promise<void> {
  const { model } = state;
  if (!model || controller) return;
  if (doubtsOf !== model) [doubts, doubtsOf] = [new Map<string, Doubt>(), model];
  controller = new AbortController();
  const { signal } = controller;
  proposing.problem = '';
  const wanted = items.filter(({ id }) => !state.predictions.has(id));
  for (const [at, item] of wanted.entries()) {
    if (signal.aborted || state.model !== model) break;
    const say = (more = ''): void => {
      const rest = wanted.length > 1 ? ` (${at + 1} of ${wanted.length})` : '';
      proposing.status = `Proposing outlines for ${item.id}${rest}${more}`;
      changed();
    };
    say();
    try {
      const { labels, doubt } = await predicted(model, item, signal, ({ loaded, total }) =>
        say(total > 1 ? `: window ${loaded} of ${total}` : ''),
      );
      if (signal.aborted || state.model !== model) break;
      state.predictions.set(item.id, labels);
      if (doubt) doubts.set(item.id, doubt);
    } catch (error) {
      if (!signal.aborted) proposing.problem = `${item.id}: ${messageOf(error)}`;
      break;
    }
  }
  controller = undefined;
  proposing.status = '';
  changed();
}

export function stopProposing(): void {
  controller?.abort();
}

async function predicted(
  model: OpenModel,
  item: PageCase,
  signal: AbortSignal,
  onProgress: (progress: { readonly loaded: number; readonly total: number }) => void,
): Promise<{ labels: File; doubt: Doubt | undefined }> {
  const sources = [...item.images];
  const name = `${item.id}_proposal.nii.gz`;
  const options = { signal, onProgress };
  if (!(model instanceof KeptModel))
    return { labels: (await segmented(model, sources, name, options)).labels, doubt: undefined };
  const { labels, uncertainty } = await model.predict(sources, { ...options, uncertainty: true });
  const written = await dataJob(
    'write',
    { labels, name, classes: namesOf(model).length },
    { transfer: [labels.data.buffer as ArrayBuffer] },
  );
  return {
    labels: written.labels,
    doubt: uncertainty && { mean: uncertainty.mean, voxel: uncertainty.voxel },
  };
}
