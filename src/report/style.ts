/**
 * The report's style sheet: system fonts, one column, light or dark as the reader's system asks.
 */
export const style = `
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6169; --rule: #dfe2e6; --page: #ffffff; --card: #f5f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e9eb; --soft: #a3a9b1; --rule: #3a3f46; --page: #17191c; --card: #212429; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 3rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); font-size: 1.35rem; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1.05rem; }
p { max-width: 46rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9rem; }
a { color: var(--accent); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.cards div { padding: .8rem 1rem; background: var(--card); border-radius: .5rem; }
.cards b { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.cards span { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .45rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
th.number, td.number { text-align: right; white-space: nowrap; }
td small { color: var(--soft); display: block; }
dl { margin: 0; font-size: .9rem; }
dl div { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; gap: 1rem; padding: .3rem 0; border-bottom: 1px solid var(--rule); }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { padding: .8rem 1rem; background: var(--card); border-radius: .5rem; font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
figure { margin: .5rem 0 1rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .35rem; }
[class$="-swatches-wrap"] { font-size: 13px !important; }
svg { max-width: 100%; height: auto; }
.swatch { display: inline-block; width: .75em; height: .75em; margin-right: .45em; border-radius: .15em; }
.note { margin: 1rem 0; padding: .6rem 1rem; border-left: 4px solid #d55e00; background: var(--card); font-size: .9rem; }
@media print { details { display: block; } nav { display: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
`;
