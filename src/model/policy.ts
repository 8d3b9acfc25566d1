/** Which outputs are computed again in the backward pass instead of being kept for it. */
import type { Node } from './graph.ts';

/** Whether a node's output is forgotten between forward and backward. */
export type Policy = (node: Node) => boolean;

const usual: Policy = ({ name }) => name.endsWith('.up') || name === 'encoder.0.conv1';
const least: Policy = ({ name }) => /\.(up|conv1|pool)$/.test(name);

export const policyOf = ({ checkpointing = false }: { checkpointing?: boolean | undefined }): Policy =>
  checkpointing ? least : usual;
