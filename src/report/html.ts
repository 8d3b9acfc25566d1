/**
 * Pieces of HTML for the report: escaping, tables, lists and embedded files.
 */

/** HTML that is safe to insert as it is. */
export interface Html {
  readonly html: string;
}

/** Text as HTML. */
const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** What a template takes: text, numbers, HTML, and lists of these; undefined becomes nothing. */
export type Content = string | number | Html | undefined | readonly Content[];

function piece(content: Content): string {
  if (content === undefined) return '';
  if (typeof content !== 'object') return escapeHtml(String(content));
  return 'html' in content ? content.html : content.map(piece).join('');
}

/** Template tag that escapes every value which is not HTML already; arrays are joined. */
export const html = (strings: TemplateStringsArray, ...values: readonly Content[]): Html => ({
  html: strings.map((text, index) => text + (index < values.length ? piece(values[index]) : '')).join(''),
});

export const raw = (text: string): Html => ({ html: text });
export const nothing: Html = { html: '' };

/** A table that scrolls sideways where it is too wide; columns after the first `textColumns` are numbers. */
export function table(
  head: readonly Content[],
  rows: readonly (readonly Content[])[],
  options: { readonly textColumns?: number } = {},
): Html {
  const kind = (column: number): Html => raw(column < (options.textColumns ?? 1) ? '' : ' class="number"');
  return html`<div class="wide">
    <table>
      <thead>
        <tr>
          ${head.map((cell, column) => html`<th${kind(column)}>${cell}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, column) => html`<td${kind(column)}>${cell}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

/** A part of a page that links can lead to. */
export const section = (id: string, title: string, ...content: readonly Html[]): Html =>
  html`<section id="${id}">
    <h2>${title}</h2>
    ${content}
  </section> `;

/** What is shown on demand. */
export const fold = (title: string, content: Html): Html =>
  html`<details>
    <summary>${title}</summary>
    ${content}
  </details>`;

/** A list of names and values. */
export const definitions = (entries: Readonly<Record<string, unknown>>): Html =>
  html`<dl>
    ${Object.entries(entries).map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${plain(value)}</dd>
        </div>`,
    )}
  </dl>`;

/** A value in words: lists by commas, objects as "name value" with semicolons; six digits of broken numbers. */
export function plain(value: unknown): string {
  if (value === undefined || value === null) return '–';
  if (typeof value === 'number')
    return String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
  if (typeof value === 'string' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return value.map(plain).join(', ');
  return Object.entries(value)
    .map(([name, entry]) => `${name} ${plain(entry)}`)
    .join('; ');
}

/** A file as a data URL. */
export function dataUrl(bytes: Uint8Array, type: string): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000)
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return `data:${type};base64,${btoa(text)}`;
}
