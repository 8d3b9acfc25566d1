/**
 * The report of a run as one HTML file that needs no network: results, curves, cases in pictures and
 * everything that it takes to repeat the run.
 */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { withParts } from '../schema.ts';
import { Charts, type PlotModule } from './charts.ts';
import { html, nothing, raw, type Html } from './html.ts';
import { dataEntries, type ReportData } from './report-data.ts';
import { results } from './results.ts';
import { cards, cases, data, machine, repeat, training } from './sections.ts';
import { style } from './style.ts';

const drawingEntries = {
  document: v.optional(withParts('a document', 'createElement')),
  plot: v.optional(withParts('Observable Plot', 'plot')),
};

/**
 * The report as the text of an HTML file, below 15 MB. It loads nothing from anywhere.
 * @param options.document a DOM to draw charts in; default: the browser's. In Node there is no need for it:
 *   `unet3d-gpu/report` brings one there.
 * @param options.plot the library that draws them; default: it is imported
 * @throws InvalidOption where there is no document, and for what is unknown or out of range
 */
export async function reportHtml(
  data_: ReportData,
  options: { readonly document?: Document; readonly plot?: PlotModule } = {},
): Promise<string> {
  assertOptions('reportHtml', dataEntries, data_);
  assertOptions('reportHtml', drawingEntries, options);
  const document = options.document ?? (globalThis as { document?: Document }).document;
  if (!document)
    throw new InvalidOption(
      'A report needs a document to draw charts in, and there is none here: pass one as an option.',
    );
  const charts = await Charts.load({ document, plot: options.plot });
  const sections: [string, string, Html][] = [
    ['results', 'Results', results(data_, charts)],
    ['cases', 'Cases', cases(data_)],
    ['training', 'Training', training(data_, charts)],
    ['data', 'Data', data(data_)],
    ['machine', 'Machine', machine(data_, charts)],
    ['repeat', 'Repeat it', repeat(data_)],
  ];
  const present = sections.filter(([, , content]) => content !== nothing);
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        />
        <title>${data_.title}</title>
        <style>
          ${raw(style)}
        </style>
      </head>
      <body>
        <header>
          <h1>${data_.title}</h1>
          <div class="soft">${data_.created ?? ''}</div>
          <nav>${present.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</nav>
          ${cards(data_)}
        </header>
        <main>${present.map(([, , content]) => content)}</main>
      </body>
    </html> `.html;
}
