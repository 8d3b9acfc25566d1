/**
 * Whatever users can name has a docstring: each export of the entries, and each member of an exported class or
 * interface, also where the type is exported by no name but reached from one that is.
 */
import { relative, resolve } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

const entries = ['index.ts', 'node.ts', 'worker/index.ts', 'report/index.ts', 'report/index.node.ts'].map(
  (name) => resolve('src', name),
);

const program = ts.createProgram(entries, {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  allowImportingTsExtensions: true,
  resolveJsonModule: true,
  noEmit: true,
  strict: true,
  types: [],
});
const checker = program.getTypeChecker();

const isOwn = (node: ts.Node): boolean => {
  const path = relative('src', node.getSourceFile().fileName);
  return !path.startsWith('..') && !path.startsWith('generated');
};
const hasDocs = (symbol: ts.Symbol): boolean => symbol.getDocumentationComment(checker).length > 0;
/** No caller sees it, or it is documented where it comes from, as the name of an error is. */
const isHidden = (node: ts.Node): boolean =>
  (ts.isClassElement(node) && node.name !== undefined && ts.isPrivateIdentifier(node.name)) ||
  (ts.canHaveModifiers(node) &&
    (ts.getModifiers(node) ?? []).some(
      ({ kind }) => kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.OverrideKeyword,
    ));

/** Members that are declared in a class or an interface of this package; a caller knows what `constructor` is. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  const declared = (symbol.declarations ?? []).filter(
    (node) => isOwn(node) && (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)),
  );
  if (declared.length === 0) return [];
  const statics = declared.some(ts.isClassDeclaration) ? [...(symbol.exports?.values() ?? [])] : [];
  return [...(symbol.members?.values() ?? []), ...statics].filter(
    ({ declarations = [], flags, name }) =>
      declarations.length > 0 &&
      !declarations.some((node) => isHidden(node) || ts.isConstructorDeclaration(node)) &&
      !(flags & (ts.SymbolFlags.TypeParameter | ts.SymbolFlags.Prototype)) &&
      !name.startsWith('__'),
  );
}

/** Names without a docstring, with their files. */
function undocumented(): string[] {
  const missing = new Set<string>();
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
    for (const name of checker.getExportsOfModule(module)) {
      const symbol = name.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(name) : name;
      const declaration = symbol.declarations?.[0];
      if (!declaration || !isOwn(declaration)) continue;
      const file = relative('.', declaration.getSourceFile().fileName);
      if (!hasDocs(symbol)) missing.add(`${file}: ${symbol.name}`);
      for (const member of membersOf(symbol))
        if (!hasDocs(member)) missing.add(`${file}: ${symbol.name}.${checker.symbolToString(member)}`);
    }
  }
  return [...missing].sort();
}

test('every public name and member has a docstring', () => {
  expect(
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entries[0]!)!)!).length,
  ).toBeGreaterThan(50);
  expect(undocumented()).toEqual([]);
});
