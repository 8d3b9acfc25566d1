/** The parts of @niivue/dcm2niix, which comes without types, that are used here. */
declare module '@niivue/dcm2niix' {
  interface Conversion {
    bids(value: 'y' | 'n' | 'o'): Conversion;
    filenameformat(value: string): Conversion;
    gzip(value: 'y' | 'o' | 'i' | 'n' | '3'): Conversion;
    run(): Promise<File[]>;
  }
  export class Dcm2niix {
    readonly worker: Worker | null;
    init(): Promise<true>;
    input(files: readonly File[]): Conversion;
  }
}
