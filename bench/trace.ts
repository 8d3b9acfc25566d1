/** What a trace of Chromium tells of the main thread: its tasks, and by samples of the stack who took their time. */

export interface Task {
  readonly ms: number;
  /** Of these, on a processor: on a busy machine a task also waits for one. */
  readonly cpu: number;
  /** Of these, with a function of the scripts in question on the stack. */
  readonly theirs: number;
  /** Of these, in handing a frame on to the compositor. */
  readonly commit: number;
  /** The functions that took most of it, with their times. */
  readonly names: readonly string[];
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  /** As `dur`, of the processor's time. */
  readonly tdur?: number;
  readonly id?: string;
  readonly args: {
    readonly name?: string;
    readonly data?: {
      readonly startTime?: number;
      readonly timeDeltas?: readonly number[];
      readonly cpuProfile?: { readonly nodes?: readonly Node[]; readonly samples?: readonly number[] };
    };
  };
}

interface Node {
  readonly id: number;
  readonly parent?: number;
  readonly callFrame: { readonly functionName: string; readonly url?: string };
}

interface Sample {
  readonly ts: number;
  readonly us: number;
  readonly theirs: boolean;
  readonly name: string;
}

/** Tasks of the main thread of the page that was profiled; `scripts` tells whose functions are not ours. */
export function mainThreadTasks(trace: Buffer, scripts: RegExp): Task[] {
  const { traceEvents: events } = JSON.parse(trace.toString()) as { traceEvents: TraceEvent[] };
  const mains = events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain');
  const profile = events.find(
    ({ name, pid, tid }) => name === 'Profile' && mains.some((main) => main.pid === pid && main.tid === tid),
  );
  if (!profile) throw new Error('the trace has no profile of a main thread');
  const samples = samplesOf(profile, events, scripts);
  const own = events.filter(({ ph, pid, tid }) => ph === 'X' && pid === profile.pid && tid === profile.tid);
  const commits = own.filter(({ name }) => name === 'Commit');
  return own
    .filter(({ name }) => name === 'RunTask')
    .map(({ ts, dur = 0, tdur = dur }) => {
      const inside = samples.filter((sample) => sample.ts > ts && sample.ts <= ts + dur);
      const times = new Map<string, number>();
      for (const { name, us } of inside) times.set(name, (times.get(name) ?? 0) + us);
      const most = [...times].sort((a, b) => b[1] - a[1]).slice(0, 4);
      const theirs = inside.reduce((sum, sample) => sum + (sample.theirs ? sample.us : 0), 0);
      return {
        ms: dur / 1000,
        cpu: tdur / 1000,
        theirs: Math.min(theirs, dur) / 1000,
        commit:
          commits.reduce((sum, at) => (at.ts >= ts && at.ts < ts + dur ? sum + (at.dur ?? 0) : sum), 0) /
          1000,
        names: most.map(([name, us]) => `${name} ${(us / 1000).toFixed(0)}`),
      };
    });
}

function samplesOf(profile: TraceEvent, events: readonly TraceEvent[], scripts: RegExp): Sample[] {
  const nodes = new Map<number, Node>();
  const found: Sample[] = [];
  let ts = profile.args.data?.startTime ?? profile.ts;
  const chunks = events.filter(
    ({ name, id, pid }) => name === 'ProfileChunk' && id === profile.id && pid === profile.pid,
  );
  for (const { args } of chunks.sort((a, b) => a.ts - b.ts)) {
    for (const node of args.data?.cpuProfile?.nodes ?? []) nodes.set(node.id, node);
    const deltas = args.data?.timeDeltas ?? [];
    (args.data?.cpuProfile?.samples ?? []).forEach((id, index) => {
      const us = deltas[index]!;
      ts += us;
      const node = nodes.get(id)!;
      const file = node.callFrame.url?.split('/').at(-1) ?? '';
      found.push({
        ts,
        us,
        theirs: isTheirs(node, nodes, scripts),
        name: `${node.callFrame.functionName} ${file}`.trim(),
      });
    });
  }
  return found;
}

function isTheirs(node: Node, nodes: ReadonlyMap<number, Node>, scripts: RegExp): boolean {
  for (let at: Node | undefined = node; at; at = at.parent === undefined ? undefined : nodes.get(at.parent))
    if (scripts.test(at.callFrame.url ?? '')) return true;
  return false;
}
