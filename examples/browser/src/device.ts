/** The adapter as this page sees it, before any training: what it can hold, and what to do where there is none. */
import { adapterClassOf, defaultBudget, defaultLimits, memoryOf, type PlanLimits } from 'unet3d-gpu/worker';

export interface DeviceFacts {
  readonly name: string;
  readonly software: boolean;
  readonly limits: PlanLimits;
  /** Bytes that plans assume to be there. */
  readonly budget: number;
  readonly adapter: GPUAdapter;
}

let found: Promise<DeviceFacts | undefined> | undefined;

/** Undefined where there is no WebGPU or no adapter. */
export function device(): Promise<DeviceFacts | undefined> {
  return (found ??= look());
}

async function look(): Promise<DeviceFacts | undefined> {
  const gpu = (navigator as Partial<Navigator>).gpu;
  const ask = () => gpu?.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  let adapter = await ask();
  // A browser that has just started may still be restarting its GPU process without the hardware.
  for (let again = 0; gpu && !adapter && again < 3; again++) {
    await new Promise((resolve) => setTimeout(resolve, 700));
    adapter = await ask();
  }
  if (!adapter) return undefined;
  const { vendor, architecture, device: model, description } = adapter.info;
  const name =
    [vendor, architecture, model, description].filter((word) => word !== '').join(' · ') || 'unnamed adapter';
  const adapterClass = adapterClassOf(adapter.info);
  const limits = {
    ...defaultLimits,
    maxBindingBytes: adapter.limits.maxStorageBufferBindingSize,
    maxBufferBytes: adapter.limits.maxBufferSize,
  };
  const budget = defaultBudget({ adapterClass, memoryBytes: memoryOf(adapter.info) });
  return { name, software: adapterClass !== 'hardware', limits, budget, adapter };
}

/** What to do in this very browser so that WebGPU works. */
export function advice(agent = navigator.userAgent, secure = isSecureContext): string[] {
  const steps: string[] = [];
  if (!secure)
    steps.push('This page was opened over plain HTTP. WebGPU needs HTTPS or localhost: change the address.');
  const version = (name: string): number => Number(new RegExp(`${name}/(\\d+)`).exec(agent)?.[1] ?? NaN);
  if (/Firefox\//.test(agent)) {
    steps.push(
      `This is Firefox ${version('Firefox')}. It has WebGPU on Windows from version 141 and on Apple silicon from 145; update it, or open this page in Chrome or Edge.`,
    );
    if (/Linux/.test(agent) && !/Android/.test(agent))
      steps.push(
        'On Linux: open about:config, set dom.webgpu.enabled to true, and gfx.webgpu.ignore-blocklist as well, and restart Firefox.',
        "Firefox computes through Vulkan there: install the driver of your GPU (Mesa 25 or later, or the vendor's).",
      );
    steps.push('Look for the reason in the lines with WEBGPU at about:support, under "Decision Log".');
  } else if (/Chrom(e|ium)\//.test(agent)) {
    const name = /Edg\//.test(agent) ? 'Edge' : 'Chrome or Chromium';
    if (version('Chrome') < 113)
      steps.push(`This is ${name} ${version('Chrome')}; WebGPU came with 113. Update it.`);
    steps.push(
      `In ${name}: Settings, System, switch on "Use graphics acceleration when available", and restart.`,
    );
    if (/Linux/.test(agent) && !/Android/.test(agent))
      steps.push(
        'On Linux: enable chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan, and restart.',
      );
    steps.push(
      'Look for the reason under "WebGPU" at chrome://gpu. An outdated graphics driver is the usual one.',
    );
  } else if (/Safari\//.test(agent)) {
    steps.push(
      'WebGPU is in Safari from version 26 (macOS 26, iOS 26). Update the system, or use Chrome on this Mac.',
    );
  } else steps.push('Open this page in a current Chrome, Edge, Safari or Firefox.');
  return steps;
}
