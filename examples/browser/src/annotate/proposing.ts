/** What the open model makes of cases, as proposals, and of which it is least sure. */
import type { Size3 } from 'unet3d-gpu/worker';
import { disagreement } from '../agreement.ts';
import { messageOf } from '../dom.ts';
import { namesOf } from '../findings.ts';
import { classCount } from '../planning.ts';
import { segmented } from '../segmenting.ts';
import {
  changed,
  inTraining,
  keepPrediction,
  state,
  type Images,
  type OpenModel,
  type PageCase,
} from '../state.ts';
import { isDone } from './annotations.ts';

/** How unsure a model is of a case: 0 to 1, and the voxel of the file where most. */
export interface Doubt {
  readonly mean: number;
  readonly voxel: Size3;
}

let doubts = new WeakMap<Images, Doubt>();
let doubtsOf: OpenModel | undefined;

/** What is being done, for the line that says it. */
export const proposing = { status: '', problem: '' };
/** Of the case at hand. */
let controller: AbortController | undefined;
/** Cases that are wanted, the next one first. */
let waiting: readonly PageCase[] = [];
let isAtWork = false;
/** Says what is being done, and how much of it is left. */
let say: (more?: string) => void = () => undefined;

/** Why the open model proposes nothing here; empty where it does. */
export function obstacle(): string {
  const { model } = state;
  if (inTraining()) return 'The network is training; it proposes outlines when that is paused or done.';
  if (!model) return 'Proposals come once a network is trained here, or a model is opened under "Use".';
  return misfit(model);
}

/** Why what a model finds are not the classes that are named here; empty where they are. */
function misfit(model: OpenModel): string {
  const known = namesOf(model).length; // values that it writes, where it finds regions
  if (known > classCount())
    return `The open model knows ${known} classes, and ${classCount()} are named here: add the others.`;
  return disagreement(model);
}

/** What is proposed for a case, where it may be accepted: not where classes have got other names since. */
export function acceptable({ images }: PageCase): File | undefined {
  const { model } = state;
  return model && misfit(model) === '' ? state.predictions.get(images) : undefined;
}

export function doubtOf({ images }: PageCase): Doubt | undefined {
  return doubtsOf === state.model ? doubts.get(images) : undefined;
}

/** Cases that are not done, those first of which the model is least sure. */
export function worthAnnotating(): PageCase[] {
  const open = state.cases.filter((item) => !isDone(item));
  return open.sort((a, b) => (doubtOf(b)?.mean ?? -1) - (doubtOf(a)?.mean ?? -1));
}

const isWanted = ({ images }: PageCase): boolean =>
  !state.predictions.has(images) && state.cases.some((item) => item.images === images);

/**
 * Proposes outlines for cases, one after another, and ahead of those that were wanted before; cases that have them
 * already are left out.
 */
export async function propose(items: readonly PageCase[]): Promise<void> {
  const isNew = ({ images }: PageCase): boolean => !items.some((item) => item.images === images);
  waiting = [...items, ...waiting.filter(isNew)];
  if (isAtWork) return say();
  isAtWork = true;
  proposing.problem = '';
  for (let [next] = waiting; next && obstacle() === ''; [next] = waiting) {
    waiting = waiting.slice(1);
    controller = new AbortController();
    if (isWanted(next)) await proposeNext(state.model!, next, controller.signal);
  }
  waiting = [];
  isAtWork = false;
  proposing.status = '';
  changed();
}

async function proposeNext(model: OpenModel, item: PageCase, signal: AbortSignal): Promise<void> {
  if (doubtsOf !== model) [doubts, doubtsOf] = [new WeakMap<Images, Doubt>(), model];
  say = (more = '') => {
    const rest = waiting.length > 0 ? `; ${waiting.length} more to go` : '';
    proposing.status = `Proposing outlines for ${item.id}${more}${rest}`;
    changed();
  };
  say();
  try {
    const { overlay, uncertainty } = await segmented(model, item.images, `${item.id}_proposal.nii.gz`, {
      signal,
      onProgress: ({ loaded, total }) => say(total > 1 ? `: window ${loaded} of ${total}` : ''),
      uncertainty: true,
    });
    if (signal.aborted || state.model !== model || !isWanted(item)) return;
    if (uncertainty) doubts.set(item.images, { mean: uncertainty.mean, voxel: uncertainty.voxel });
    keepPrediction(item.images, overlay);
  } catch (error) {
    if (signal.aborted || inTraining()) return;
    if (state.model === model) proposing.problem = `${item.id}: ${messageOf(error)}`;
    else waiting = [item, ...waiting]; // of the model that is open now
  }
}

/** Ends the proposal at hand and forgets the cases that wait. */
export function stopProposing(): void {
  waiting = [];
  controller?.abort();
}
