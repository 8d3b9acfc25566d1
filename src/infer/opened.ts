/** A network on the device that only predicts; its weights are written by whoever opens it. */
import type { DeviceOptions } from '../gpu/device-options.ts';
import { Gpu } from '../gpu/device.ts';
import { defaultBudget } from '../model/budget.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { ModelState } from '../model/state.ts';
import { Turns } from '../model/turns.ts';
import { Inference } from './inference.ts';

export class OpenNetwork {
  /** Of the calls on it. */
  readonly turns = new Turns();

  private constructor(
    readonly state: ModelState,
    readonly inference: Inference,
  ) {}

  /**
   * @param prepare what is still to be done before it is of use; where it throws, everything is freed
   * @throws UnsupportedDevice without a GPU adapter; OutOfMemory where the GPU has no room for the weights; and what
   *   `prepare` throws
   */
  static async open(
    config: UNet3DConfig,
    { device, limits, matrixUnits, precision = 'f32', memoryBudget }: DeviceOptions,
    prepare: (network: OpenNetwork) => Promise<void> | void = () => undefined,
  ): Promise<OpenNetwork> {
    const gpu = await Gpu.open({ device, limits, matrixUnits });
    const state = await ModelState.create(gpu, config);
    state.precision = precision;
    const network = new OpenNetwork(state, new Inference(state, memoryBudget ?? defaultBudget(gpu)));
    try {
      await prepare(network);
      return network;
    } catch (error) {
      network.dispose();
      throw error;
    }
  }

  /** Frees everything on the GPU; the device too, unless the caller brought it. Calls that run or wait reject. */
  dispose(): void {
    const { gpu } = this.state;
    gpu.dispose();
    this.turns.close(gpu.lossError());
    this.inference.release();
    this.state.dispose();
  }
}
