/** The host's clock as a measure of work on a device: what it can tell, and what a round trip takes by itself. */

/** Milliseconds since some moment, as `performance.now`. */
export type Clock = () => number;

export const hostClock: Clock = () => performance.now();

const rounds = 5;
/** Readings after which a clock that has not moved counts as still. */
const mostReadings = 1e7;

export interface Round {
  /** Milliseconds from submitting nothing until the device is known to be done: the least of several. */
  readonly ms: number;
  /** By how much such a round may be wrong: the spread of several and a step of the clock. */
  readonly error: number;
}

/** Measures an empty round of a device. In some browsers it takes 100 ms, or the clock moves in steps as long. */
export async function emptyRound(device: GPUDevice, clock: Clock = hostClock): Promise<Round> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = clock();
    device.queue.submit([device.createCommandEncoder().finish()]);
    await device.queue.onSubmittedWorkDone();
    times.push(clock() - started);
  }
  times.sort((a, b) => a - b);
  // The slowest is left out: other work may have held it up.
  return { ms: times[0]!, error: times[times.length - 2]! - times[0]! + stepOf(clock) };
}

/** Milliseconds by which the clock moves at least. */
function stepOf(clock: Clock): number {
  const next = (from: number): number => {
    let now = clock();
    for (let reading = 0; now === from && reading < mostReadings; reading++) now = clock();
    return now;
  };
  const edge = next(clock());
  return next(edge) - edge;
}
