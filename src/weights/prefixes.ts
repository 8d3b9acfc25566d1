/** What programs put in front of the names of a network's weights. */

/** By torch.compile, DataParallel and DistributedDataParallel. */
const wrappers = ['_orig_mod.', 'module.'];

/** As programs hold a network: of a LightningModule, for instance. */
const holders = ['model.', 'net.', 'network.'];

/** The tensors without what wrappers put in front of every name, however many are around each other. */
export function withoutWrappers<T>(tensors: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  const bare = withoutPrefix(tensors, wrappers);
  return bare === tensors ? tensors : withoutWrappers(bare);
}

/** The tensors without what one program that holds a network puts in front of every name, and wrappers around and within. */
export const withoutHolder = <T>(tensors: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
  withoutWrappers(withoutPrefix(withoutWrappers(tensors), holders));

/** The tensors without the first of the prefixes that every name has; the same map if there is none. */
function withoutPrefix<T>(
  tensors: ReadonlyMap<string, T>,
  prefixes: readonly string[],
): ReadonlyMap<string, T> {
  const names = [...tensors.keys()];
  const prefix = prefixes.find((text) =>
    names.every((name) => name.startsWith(text) && name.length > text.length),
  );
  if (prefix === undefined || names.length === 0) return tensors;
  return new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}
