/**
 * The report in Node, where linkedom stands in for the browser's document.
 */
import { parseHTML } from 'linkedom';
import { reportHtml as draw, type ReportData } from './report.ts';

/** The report as the text of an HTML file; see `reportHtml` of report.ts. */
export function reportHtml(data: ReportData): Promise<string> {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  return draw(data, { document });
}
