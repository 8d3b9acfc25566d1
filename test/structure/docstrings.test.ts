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

/** The types of this package that a declaration names. */
function typesNamedIn(node: ts.Node): ts.Symbol[] {
  const found: ts.Symbol[] = [];
  const visit = (child: ts.Node): void => {
    // What a function does inside is nobody's to see.
    if (ts.isBlock(child) || isHidden(child)) return;
    const named = ts.isTypeReferenceNode(child)
      ? child.typeName
      : ts.isExpressionWithTypeArguments(child)
        ? child.expression
        : undefined;
    const symbol = named && checker.getSymbolAtLocation(named);
    if (symbol) found.push(resolved(symbol));
    ts.forEachChild(child, visit);
  };
  visit(node);
  return found.filter(({ flags }) => !(flags & ts.SymbolFlags.TypeParameter));
}

const resolved = (symbol: ts.Symbol): ts.Symbol =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;

/** All that users can name or reach from what they can name. */
function publicSymbols(): Set<ts.Symbol> {
  const found = new Set<ts.Symbol>();
  const take = (symbol: ts.Symbol): void => {
    const own = (symbol.declarations ?? []).filter(isOwn);
    if (found.has(symbol) || own.length === 0) return;
    found.add(symbol);
    own.flatMap(typesNamedIn).forEach(take);
  };
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
    checker.getExportsOfModule(module).map(resolved).forEach(take);
  }
  return found;
}

/** Names without a docstring, with their files. */
function undocumented(): string[] {
  const missing: string[] = [];
  for (const symbol of publicSymbols()) {
    const file = relative('.', symbol.declarations![0]!.getSourceFile().fileName);
    if (!hasDocs(symbol)) missing.push(`${file}: ${symbol.name}`);
    for (const member of membersOf(symbol))
      if (!hasDocs(member)) missing.push(`${file}: ${symbol.name}.${checker.symbolToString(member)}`);
  }
  return missing.sort();
}

test('every public name and member has a docstring', () => {
  expect(
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entries[0]!)!)!).length,
  ).toBeGreaterThan(50);
  expect(undocumented()).toEqual([]);
});
