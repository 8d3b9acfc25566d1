/** Weights of one network as the beginning of another: all but heads must fit. */
import { InvalidModel } from '../errors.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { layoutParameters, type Parameter } from '../model/parameters.ts';
import type { Weights } from '../model/state.ts';
import type { ModelDescription } from './model-file.ts';

/**
 * What becomes of the heads: `keep` takes them over, `new` begins them anew, `auto` takes them over where both networks
 * have as many classes, or the same regions, of the same names as far as both have names.
 */
export type HeadsChoice = 'auto' | 'keep' | 'new';

/** A network and its weights. */
export interface Trained {
  readonly description: Pick<ModelDescription, 'config' | 'labels' | 'regions'>;
  readonly weights: Weights;
}

/** Weights that a message names. */
const shownAtMost = 3;

const isNamedHead = (name: string): boolean => /^(decoder\.\d+\.)?head\./.test(name);

/** Whether weights belong to a head: to a layer of that name, or to one whose channels are the classes. */
function headsOf(config: UNet3DConfig): (name: string) => boolean {
  const [these, others] = [config.classes, config.classes + 1].map(
    (classes) => layoutParameters({ ...config, classes }).parameters,
  );
  return (name) => isNamedHead(name) || these!.get(name)?.shape.join() !== others!.get(name)?.shape.join();
}

/**
 * The weights of `from` in the layout of `own`, whose heads remain where they are not taken over.
 * @param name what messages call the file of `from`
 * @returns the heads that begin anew, such as `decoder.1.head`
 * @throws InvalidModel naming weights that are missing, surplus or of another shape
 */
export function takeOver(
  own: Trained,
  from: Trained,
  heads: HeadsChoice,
  name: string,
): { readonly weights: Weights; readonly anew: readonly string[] } {
  const [target, source] = [own, from].map(({ description }) => layoutParameters(description.config));
  const keeps = heads === 'keep' || (heads === 'auto' && haveEqualClasses(own, from));
  if (heads === 'keep' && own.description.config.classes !== from.description.config.classes)
    throw new InvalidModel(
      `the heads of ${name} are for ${from.description.config.classes} classes, those of this network for ` +
        `${own.description.config.classes}: they cannot be kept; begin them anew`,
    );
  const isHead = headsOf(own.description.config);
  const anew = new Set<string>();
  const wrong: string[] = [];
  const isTaken = ({ name: entry, shape }: Parameter, found: Parameter | undefined): boolean => {
    if (found && found.shape.join() === shape.join() && (keeps || !isHead(entry))) return true;
    if (isHead(entry)) {
      anew.add(entry.slice(0, entry.lastIndexOf('.')));
      return false;
    }
    const has = found ? `is [${found.shape.join(', ')}] there` : 'is missing there';
    wrong.push(`${entry} of shape [${shape.join(', ')}] ${has}`);
    return false;
  };
  const parts = (['parameters', 'statistics'] as const).map((part) => {
    const flat = own.weights[part].slice();
    for (const entry of target![part].values()) {
      const found = source![part].get(entry.name);
      if (!isTaken(entry, found)) continue;
      const { offset, length } = found!;
      flat.set(from.weights[part].subarray(offset, offset + length), entry.offset);
    }
    for (const entry of source![part].keys())
      if (!target![part].has(entry) && !isHead(entry)) wrong.push(`${entry} has no place here`);
    return flat;
  });
  if (wrong.length > 0)
    throw new InvalidModel(
      `${name} is of another network: ${wrong.slice(0, shownAtMost).join('; ')}` +
        `${wrong.length > shownAtMost ? ` and ${wrong.length - shownAtMost} more` : ''}; give a model of the same ` +
        'levels, channels, kernels and blocks',
    );
  return { weights: { parameters: parts[0]!, statistics: parts[1]! }, anew: [...anew] };
}

function haveEqualClasses({ description: a }: Trained, { description: b }: Trained): boolean {
  const [named, others] = [a.labels, b.labels];
  const areNamed = named.length > 0 && others.length > 0;
  if (a.regions ?? b.regions) {
    const [these, those] = [a, b].map(({ regions }) =>
      JSON.stringify(regions?.map(({ name, ...region }) => (areNamed ? { name, ...region } : region))),
    );
    return these === those;
  }
  const sameNames = !areNamed || named.join('\n') === others.join('\n');
  return a.config.classes === b.config.classes && sameNames;
}
