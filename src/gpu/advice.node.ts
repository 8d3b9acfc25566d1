/**
 * What to install where no GPU adapter was found: one precise sentence for the operating system at hand.
 */
import { readFileSync } from 'node:fs';
import { chromiumPackage, inCheckout } from './drivers.node.ts';

/** The part of the machine that the advice depends on. */
export interface Machine {
  /** `process.platform` */
  readonly platform: string;
  /** The fields of /etc/os-release, unquoted; empty where there is none. */
  readonly release: Readonly<Record<string, string>>;
  /** Whether `npm install` can bring SwiftShader, which is not here yet: for an installed package on x64 Linux. */
  readonly withoutSwiftShader?: boolean;
}

/** Reads the fields of an os-release file: `NAME=value` lines, values possibly quoted. */
export function parseRelease(text: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [, key, value] of text.matchAll(/^([A-Z_]+)=["']?(.*?)["']?$/gm)) fields[key!] = value!;
  return fields;
}

export function thisMachine(): Machine {
  let release = {};
  try {
    release = parseRelease(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    // No such file: not Linux, or a very bare one.
  }
  const withoutSwiftShader =
    process.platform === 'linux' &&
    process.arch === 'x64' &&
    !inCheckout() &&
    chromiumPackage() === undefined;
  return { platform: process.platform, release, withoutSwiftShader };
}

const NVIDIA = 'for an NVIDIA GPU, install its own driver';

/** What to install so that WebGPU finds an adapter on this machine. */
export function installAdvice(machine: Machine = thisMachine()): string {
  const musl = machine.release['ID'] === 'alpine';
  return machine.withoutSwiftShader && !musl
    ? `${driverAdvice(machine)} ${SWIFTSHADER_ADVICE}`
    : driverAdvice(machine);
}

const SWIFTSHADER_ADVICE =
  'Without root or a GPU, for small volumes and trials: npm install @sparticuz/chromium brings SwiftShader, a software adapter about ten times slower than lavapipe.';

function driverAdvice({ platform, release }: Machine): string {
  if (platform === 'darwin')
    return 'macOS brings Metal with it: update to macOS 13 or later, and run where the GPU is visible (not in a virtual machine without Metal).';
  if (platform === 'win32')
    return "Install the current driver from the GPU's vendor (AMD, Intel or NVIDIA); it brings Direct3D 12 and Vulkan.";
  if (platform !== 'linux')
    return `WebGPU in Node is published for Linux, macOS and Windows, not for ${platform}.`;

  const id = release['ID'] ?? '';
  const name = release['PRETTY_NAME'] ?? 'this Linux';
  const family = [id, ...(release['ID_LIKE'] ?? '').split(' ')];
  const version = Number.parseFloat(release['VERSION_ID'] ?? '');
  const mesa = 'mesa-vulkan-drivers (AMD, Intel, and lavapipe for machines without a GPU)';
  if (id === 'debian' && version < 13)
    return `On ${name}, whose own Mesa is too old for WebGPU, add ${release['VERSION_CODENAME'] ?? 'bookworm'}-backports to the apt sources, then: apt install -t ${release['VERSION_CODENAME'] ?? 'bookworm'}-backports mesa-vulkan-drivers (AMD, Intel, and lavapipe for machines without a GPU); ${NVIDIA}: apt install nvidia-driver.`;
  if (id === 'ubuntu' && version < 24.04)
    return `On ${name}, whose own Mesa is too old for WebGPU, update to Ubuntu 24.04 and run: apt install mesa-vulkan-drivers; ${NVIDIA}: ubuntu-drivers install.`;
  if (id === 'ubuntu') return `On ${name}: apt install ${mesa}; ${NVIDIA}: ubuntu-drivers install.`;
  if (family.includes('debian') || family.includes('ubuntu'))
    return `On ${name}: apt install ${mesa}; ${NVIDIA}: apt install nvidia-driver.`;
  if (family.includes('fedora') || family.includes('rhel'))
    return `On ${name}: dnf install vulkan-loader ${mesa}; ${NVIDIA}.`;
  if (family.includes('arch'))
    return `On ${name}: pacman -S vulkan-icd-loader and one of vulkan-radeon, vulkan-intel, nvidia-utils or, without a GPU, vulkan-swrast.`;
  if (family.includes('suse'))
    return `On ${name}: zypper install libvulkan1 and one of libvulkan_radeon, libvulkan_intel or, without a GPU, libvulkan_lvp; ${NVIDIA}.`;
  if (id === 'alpine')
    return `${name} uses musl, for which WebGPU in Node is not built: use an image with glibc, such as Debian 13 or Ubuntu 24.04.`;
  return `On ${name}: install the Vulkan loader and a Vulkan driver (Mesa 25 or later, or the GPU vendor's).`;
}
