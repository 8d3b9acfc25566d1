/**
 * `unet3d-gpu/report`: metrics over cases, pictures of cases and the report of a run as one HTML file. In browsers the
 * page's own document draws the charts; in Node see index.node.ts.
 */
export {
  evaluateCase,
  type CaseMetrics,
  type EvaluateOptions,
  type LabelVolume,
} from '../metrics/evaluate.ts';
export { metricsCsv, metricsJson, summarise, type Summary } from '../metrics/summary.ts';
export { casePicture, pickCases, type CasePicture } from './cases.ts';
export { mapsOver, renderCase, type RenderInput } from './render.ts';
export { reportHtml } from './report.ts';
export type { ReportData } from './report-data.ts';
export type { GridVolume, Plane } from './view.ts';
export { historyCsv } from '../train/history.ts';
