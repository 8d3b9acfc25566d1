/** The package's worker, whose first GPU device is lost in the training. */
import './lose-device.ts';
import '../../src/worker/thread.ts';
