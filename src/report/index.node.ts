/** `unet3d-gpu/report` in Node: the same, with a document of its own to draw charts in. */
export * from './index.ts';
export { reportHtml } from './report.node.ts';
