/**
 * One class per failure a caller can act on. Every message states the value found,
 * what was expected, and what to do about it.
 */

/**
 * Base class: `error instanceof UNet3DError` tells this package's errors from all others.
 * @example
 * ```js
 * try {
 *   await UNet3D.load(new Uint8Array(10));
 * } catch (error) {
 *   if (!(error instanceof InvalidModel)) throw error;
 *   console.log(error.message, error instanceof UNet3DError); // …, true
 * }
 * ```
 */
export class UNet3DError extends Error {
  override readonly name: string = 'UNet3DError';
}

/** No usable WebGPU adapter, or one that lacks something that was asked for by name. */
export class UnsupportedDevice extends UNet3DError {
  override readonly name = 'UnsupportedDevice';
}

/** The GPU rejected a command or a shader: a bug in this package or in the driver. */
export class GpuError extends UNet3DError {
  override readonly name = 'GpuError';
}

/** The plan needs more memory than there is, or an allocation failed. */
export class OutOfMemory extends UNet3DError {
  override readonly name = 'OutOfMemory';
  constructor(
    message: string,
    /** Bytes that were asked for. */
    readonly planned: number,
    /** Bytes that may be used. */
    readonly limit: number,
  ) {
    super(message);
  }
}

/** The device was lost (driver reset, watchdog, `destroy()`); buffers are gone. */
export class DeviceLost extends UNet3DError {
  override readonly name = 'DeviceLost';
}

/** An `AbortSignal` fired; everything finished before it stands. */
export class Aborted extends UNet3DError {
  override readonly name = 'Aborted';
}

/** A file that is not a NIfTI volume, is damaged, or holds voxels that cannot be used. */
export class InvalidVolume extends UNet3DError {
  override readonly name = 'InvalidVolume';
}

/** A data set whose cases are missing, unmatched, inconsistent or too few. */
export class InvalidDataset extends UNet3DError {
  override readonly name = 'InvalidDataset';
}

/** A model file that is damaged, of a newer version, or for another network. */
export class InvalidModel extends UNet3DError {
  override readonly name = 'InvalidModel';
}

/** An option outside its range, or options that contradict each other. */
export class InvalidOption extends UNet3DError {
  override readonly name = 'InvalidOption';
}

/** The loss, a gradient or a result became NaN or infinite. */
export class NotFinite extends UNet3DError {
  override readonly name = 'NotFinite';
  constructor(
    message: string,
    /** Optimiser step, counted from 0; undefined outside of trainings. */
    readonly step: number | undefined,
    /** First parameter or tensor that is not finite. */
    readonly where: string,
  ) {
    super(message);
  }
}
