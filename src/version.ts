/** The package's version, as package.json has it. */
import { version as packageVersion } from '../package.json';

/** Of this package. */
export const version: string = packageVersion;
