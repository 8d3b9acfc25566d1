/** Everything that src/data/wasm.ts calls, one file per job. */
export * from './memory';
export * from './decode';
export * from './reorient';
export * from './statistics';
export * from './resample';
export * from './spline';
export * from './linear';
