/**
 * The report in Node, where linkedom stands in for the browser's document.
 */
import { parseHTML } from 'linkedom';
import type { Plan } from '../gpu/plan.ts';
import { Charts } from './charts.ts';
import { reportHtml as draw, type ReportData } from './report.ts';

const blank = (): Document => parseHTML('<!doctype html><html><body></body></html>').document;

/** The plan's memory over a step as an SVG file. */
export async function memoryPicture(plan: Plan): Promise<string> {
  const charts = await Charts.load(blank());
  return charts.memory(plan).html.replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ');
}

/** The report as the text of an HTML file; see `reportHtml` of report.ts. */
export function reportHtml(data: ReportData): Promise<string> {
  return draw(data, { document: blank() });
}
