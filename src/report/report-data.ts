/** What a report is made of. */
import * as v from 'valibot';
import type { PostprocessingChoice } from '../metrics/components.ts';
import type { CaseMetrics } from '../metrics/evaluate.ts';
import type { Summary } from '../metrics/summary.ts';
import { list, numberFrom, text, wholeNumber, withParts } from '../schema.ts';
import type { CasePicture } from './cases.ts';
import type { MemoryRow } from './charts.ts';
import type { HistoryRow } from './series.ts';

/** Everything a report can show; what is left out has no section. */
export interface ReportData {
  /** Stands on top. */
  readonly title: string;
  /** For example an ISO date. */
  readonly created?: string;
  /** The command that repeats the run. */
  readonly command: string;
  /** Names of the label values 0, 1, 2 … */
  readonly labels: readonly string[];
  /** The values that pictures show these as, for their colours: of regions, those that are written. Default: 0, 1, 2 … */
  readonly labelValues?: readonly number[];
  /** Of network and training, by name. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Facts about the data set, by name. */
  readonly dataset?: Readonly<Record<string, unknown>>;
  /** Names of the cases of each part, for example train, validation, test. */
  readonly split?: Readonly<Record<string, readonly string[]>>;
  /** One row for each epoch. */
  readonly history?: readonly HistoryRow[];
  /** Which part was evaluated. Default 'test'. */
  readonly evaluated?: string;
  /** Metrics of the evaluated cases. */
  readonly cases?: readonly CaseMetrics[];
  /** Of `cases`. */
  readonly summary?: Summary;
  /** Of NSD, mm. Default 1. */
  readonly tolerance?: number;
  /** What validation chose, with its Dice per class before and after. */
  readonly postprocessing?: PostprocessingChoice;
  /** Of single cases. */
  readonly pictures?: readonly CasePicture[];
  /** Of the plan of a step, in bytes. */
  readonly memory?: { readonly peakBytes: number; readonly tensors: readonly MemoryRow[] };
  /** Seconds by phase. */
  readonly timings?: readonly { readonly name: string; readonly seconds: number }[];
  /** The GPU in one line. */
  readonly adapter?: string;
  /** Of software, by name. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Of the run. */
  readonly seed?: number;
  /** SHA-256 of data and model by name; the first two are shown, the others folded. */
  readonly hashes?: Readonly<Record<string, string>>;
  /** What a reader should know, one sentence each. */
  readonly notes?: readonly string[];
}

const record = v.optional(withParts('an object'));
/** As a schema. */
export const dataEntries = {
  title: text,
  created: v.optional(text),
  command: text,
  labels: v.array(text, 'a list of names of classes'),
  labelValues: v.optional(v.array(wholeNumber(), 'label values')),
  config: withParts('an object'),
  dataset: record,
  split: v.optional(v.record(text, v.array(text), 'lists of cases by part')),
  history: v.optional(list('a list of epochs')),
  evaluated: v.optional(text),
  cases: v.optional(list('a list of what evaluateCase gives')),
  summary: v.optional(withParts('what summarise gives', 'classes', 'foreground')),
  tolerance: v.optional(numberFrom(0)),
  postprocessing: v.optional(withParts('what choosePostprocessing gives', 'before', 'after')),
  pictures: v.optional(list('a list of what casePicture gives')),
  memory: v.optional(withParts('peakBytes and tensors', 'peakBytes', 'tensors')),
  timings: v.optional(list('a list of names and seconds')),
  adapter: v.optional(text),
  versions: record,
  seed: v.optional(wholeNumber()),
  hashes: record,
  notes: v.optional(v.array(text, 'a list of texts')),
} satisfies Record<keyof ReportData, unknown>;
