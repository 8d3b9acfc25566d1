/** The package's worker, whose models share a GPU device. */
import { shareDevices } from '../support/one-device.ts';
import '../../src/worker/thread.ts';

shareDevices();
