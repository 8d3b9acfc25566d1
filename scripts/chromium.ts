/**
 * The Chromium that tests run in, and how to start it with WebGPU: the one that UNET3D_CHROMIUM names, an installed
 * one, or the one that @sparticuz/chromium carries, with its libraries and SwiftShader beside it; that one is also had
 * by UNET3D_CHROMIUM=packaged.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DRIVER_VARIABLES, unpackFromChromium } from '../src/gpu/drivers.node.ts';

export interface Chromium {
  executablePath: string;
  args: string[];
  env: Record<string, string>;
}

const INSTALLED = [
  '/usr/bin/chromium',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/**
 * What is switched off in it: popups of the address bar, each a page that every window loads anew, which takes longer than
 * loading one of ours; and what Playwright switches off, whose list this one replaces.
 */
const OFF = [
  'WebUIOmniboxPopup',
  'WebUIOmniboxAimPopup',
  'PreloadTopChromeWebUI',
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'DestroyProfileOnBrowserClose',
  'HttpsUpgrades',
  'HttpsFirstBalancedModeAutoEnable',
  'LensOverlay',
  'MediaRouter',
  'PaintHolding',
  'ThirdPartyStoragePartitioning',
  'AvoidCorsURLLoaderRestartOnRedirect',
  'TcpPortRandomizationWin',
  'OptimizationHints',
  'NetworkTimeServiceQuerying',
  'AimEnabled',
  'PreconnectToSearch',
];

/** Launch options for playwright, or undefined where there is no Chromium for this machine. */
export function chromium(): Chromium | undefined {
  // The browser chooses its adapter itself; drivers chosen for Node may not even load in it.
  const chosenForNode: readonly string[] = DRIVER_VARIABLES;
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !chosenForNode.includes(name)) env[name] = value;
  // Of LANG=C.UTF-8 the headless one makes a language tag that Intl refuses.
  env['LANG'] = 'en_US.UTF-8';
  const args = ['--no-sandbox', '--enable-unsafe-webgpu', `--disable-features=${OFF.join()}`];

  const named = process.env['UNET3D_CHROMIUM'];
  const packaged = named === 'packaged';
  if (named !== undefined && !packaged && !existsSync(named))
    throw new Error(`UNET3D_CHROMIUM names no file: ${named}`);
  const installed = packaged ? undefined : (named ?? INSTALLED.find((path) => existsSync(path)));
  if (installed !== undefined) return { executablePath: installed, args, env };

  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const folder = unpackFromChromium(['chromium', 'swiftshader.tar', 'al2023.tar'], 'chromium');
  if (folder === undefined) return undefined;
  env['LD_LIBRARY_PATH'] = [join(folder, 'lib'), env['LD_LIBRARY_PATH']].filter(Boolean).join(':');
  return { executablePath: join(folder, 'chromium'), args, env };
}
