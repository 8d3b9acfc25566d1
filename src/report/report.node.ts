/**
 * The report in Node, where linkedom stands in for the browser's document.
 */
import { createRequire } from 'node:module';
import type { Plan } from '../gpu/plan.ts';
import { Charts, type Plot } from './charts.ts';
import { reportHtml as draw } from './report.ts';
import type { ReportData } from './report-data.ts';

/**
 * For what only a report needs, when one is made. `require` opens the files of a package one after another, `import`
 * hundreds at once, which is more than some systems allow a process.
 */
const require = createRequire(import.meta.url);

/** A blank document, and what draws in it. */
function drawing(): { document: Document; plot: Plot } {
  const { parseHTML } = require('linkedom') as typeof import('linkedom');
  return {
    document: parseHTML('<!doctype html><html><body></body></html>').document,
    plot: require('@observablehq/plot') as Plot,
  };
}

/** The plan's memory over a step as an SVG file. */
export async function memoryPicture(plan: Plan): Promise<string> {
  const charts = await Charts.load(drawing());
  return charts.memory(plan).html.replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ');
}

/** The report as the text of an HTML file; see `reportHtml` of report.ts. */
export function reportHtml(data: ReportData): Promise<string> {
  return draw(data, drawing());
}
