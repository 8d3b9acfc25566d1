/** Items by what they have in common, each group in their order; those that have none of it are left out. */
export function groupedBy<T, Key>(items: Iterable<T>, key: (item: T) => Key | undefined): Map<Key, T[]> {
  const groups = new Map<Key, T[]>();
  for (const item of items) {
    const value = key(item);
    if (value === undefined) continue;
    const group = groups.get(value);
    if (group) group.push(item);
    else groups.set(value, [item]);
  }
  return groups;
}
