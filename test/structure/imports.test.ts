/**
 * No file of src imports itself through others, and no folder either: the house can be read from the ground up.
 * Imports of types count, and a folder's own folders belong to it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** What each file of a folder imports from the folder. */
function importsOf(folder: string): Graph {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    files.map((file) => {
      const { importedFiles } = ts.preProcessFile(readFileSync(file, 'utf8'));
      const relative = importedFiles.map(({ fileName }) => fileName).filter((name) => name.startsWith('.'));
      const imported = relative.map((name) => join(dirname(file), name));
      return [file, new Set(imported.filter((path) => path.startsWith(join(folder, '/'))))];
    }),
  );
}

/** The graph with one node for each folder of `root`; files that lie in no folder stand for themselves. */
function byFolder(graph: Graph, root: string): Graph {
  const folder = (file: string): string => join(root, file.slice(join(root, '/').length).split('/')[0]!);
  const folders = new Map<string, Set<string>>();
  for (const [file, imports] of graph) {
    const others = [...imports].map(folder).filter((other) => other !== folder(file));
    folders.set(folder(file), new Set([...(folders.get(folder(file)) ?? []), ...others]));
  }
  return folders;
}

/** A way from a node back to itself, such as [a, b, a]; undefined where there is none. */
function circleIn(graph: Graph): string[] | undefined {
  const done = new Set<string>();
  const visit = (node: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const next of graph.get(node) ?? []) {
      const circle = visit(next, [...path, node]);
      if (circle) return circle;
    }
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const circle = visit(node, []);
    if (circle) return circle;
  }
  return undefined;
}

const graph = importsOf('src');

test('the graph is that of the sources', () => {
  expect(graph.get(join('src', 'node.ts'))).toContain(join('src', 'index.ts'));
  // An import of a type alone.
  expect(graph.get(join('src', 'data', 'case.ts'))).toContain(join('src', 'data', 'source.ts'));
  const sides = new Map([
    ['a', new Set(['b'])],
    ['b', new Set(['c', 'd'])],
    ['c', new Set<string>()],
    ['d', new Set(['b'])],
  ]);
  expect(circleIn(sides)).toEqual(['b', 'd', 'b']);
});

test('no file imports itself through others', () => {
  expect(circleIn(graph)?.join(' → ')).toBeUndefined();
});

test('no folder imports itself through others', () => {
  expect(circleIn(byFolder(graph, 'src'))?.join(' → ')).toBeUndefined();
});
