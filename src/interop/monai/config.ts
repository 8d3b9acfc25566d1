/**
 * Configuration files of MONAI's bundles, as data: references to other keys are followed, Python expressions are kept
 * as such and never evaluated.
 */
import { InvalidModel } from '../../errors.ts';
import { readJson } from '../../json.ts';
import * as v from 'valibot';

/** What Python would evaluate. */
export class Expression {
  constructor(readonly text: string) {}
}

const deepest = 64;
/** Values of a key with everything that it refers to: references may double each other. */
const mostValues = 1e5;

/** A configuration file. */
export class BundleConfig {
  readonly #root: Readonly<Record<string, unknown>>;
  /** Values that may still be followed. */
  #left = 0;

  /**
   * @param name what messages call the file
   * @throws InvalidModel for what is no JSON object
   */
  constructor(
    json: string,
    readonly name: string,
  ) {
    this.#root = readJson(json, v.record(v.string(), v.unknown(), 'an object'), (problem) =>
      this.failure(problem),
    );
  }

  failure(problem: string): InvalidModel {
    return new InvalidModel(`${this.name} cannot be followed: ${problem}`);
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#root, key);
  }

  /**
   * The value of a key with what it refers to in place; undefined if there is none.
   * @throws InvalidModel for references that lead nowhere, in a circle, or to more than 100,000 values
   */
  value(key: string): unknown {
    this.#left = mostValues;
    return this.#followed(this.has(key) ? this.#root[key] : undefined, 0);
  }

  #followed(value: unknown, depth: number): unknown {
    if (depth > deepest)
      throw this.failure('its references go round in a circle, or lie deeper than 64 within each other');
    if (this.#left-- === 0) throw this.failure(`its references lead to more than ${mostValues} values`);
    const within = (item: unknown): unknown => this.#followed(item, depth + 1);
    if (typeof value === 'string') {
      if (value.startsWith('$')) return new Expression(value);
      return value.startsWith('@') ? within(this.#referred(value)) : value;
    }
    if (Array.isArray(value)) return value.map(within);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, within(item)]));
  }

  /** What `@key`, `@key#0#name` or `@key::0::name` refers to. */
  #referred(reference: string): unknown {
    let found: unknown = this.#root;
    for (const part of reference.slice(1).split(/#|::/)) {
      const holds = typeof found === 'object' && found !== null && Object.hasOwn(found, part);
      if (!holds)
        throw this.failure(`there is nothing that ${JSON.stringify(reference.slice(0, 100))} refers to`);
      found = (found as Record<string, unknown>)[part];
    }
    return found;
  }
}

/** A component: the class that `_target_` names, without its modules, and its arguments. */
export interface Component {
  readonly className: string;
  readonly given: Readonly<Record<string, unknown>>;
}

/**
 * @param what the message calls it
 * @throws InvalidModel for what is no component, or has an argument that Python would have to evaluate
 */
export function componentOf(value: unknown, what: string, config: BundleConfig): Component {
  if (value instanceof Expression)
    throw config.failure(
      `${what} is the Python expression ${shown(value)}, which is not evaluated; write its value out`,
    );
  const target: unknown =
    typeof value === 'object' && value !== null && '_target_' in value && value._target_;
  if (typeof target !== 'string')
    throw config.failure(`${what} is no component; expected an object with a class under "_target_"`);
  const given = Object.fromEntries(Object.entries(value as object).filter(([key]) => key !== '_target_'));
  return { className: target.slice(target.lastIndexOf('.') + 1), given };
}

/** @throws InvalidModel for an argument that Python would have to evaluate */
export function requireValues({ className, given }: Component, config: BundleConfig): void {
  const holds = (value: unknown): Expression | undefined => {
    if (value instanceof Expression) return value;
    if (typeof value !== 'object' || value === null) return undefined;
    return Object.values(value)
      .map(holds)
      .find((found) => found !== undefined);
  };
  for (const [key, value] of Object.entries(given)) {
    const expression = holds(value);
    if (expression)
      throw config.failure(
        `${key} of ${className} is the Python expression ${shown(expression)}, which is not evaluated; write its value out`,
      );
  }
}

const shown = ({ text }: Expression): string => JSON.stringify(text.slice(0, 100));
