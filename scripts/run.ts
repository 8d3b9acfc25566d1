/**
 * Starts node with the arguments given, through the fetched lavapipe where that is the adapter to use:
 * `node --import tsx scripts/run.ts SCRIPT [ARGUMENTS…]`.
 */
import { lavapipeNode, runNode } from '../src/gpu/lavapipe.node.ts';

process.exitCode = await runNode((await lavapipeNode()) ?? process.execPath, process.argv.slice(2));
