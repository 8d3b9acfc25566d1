/** The advice that is given where no adapter is found: one for each system, naming its own packages. */
import { expect, test } from 'vitest';
import { installAdvice, parseRelease } from '../../src/gpu/advice.node.ts';

const linux = (text: string) => installAdvice({ platform: 'linux', release: parseRelease(text) });

test('os-release is read with and without quotes', () => {
  const release = parseRelease(
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID=\'12\'\n',
  );
  expect(release).toEqual({ PRETTY_NAME: 'Debian GNU/Linux 12 (bookworm)', ID: 'debian', VERSION_ID: '12' });
});

test.each([
  [
    'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm',
    'apt install -t bookworm-backports mesa-vulkan-drivers',
  ],
  ['ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian 13"', 'On Debian 13: apt install mesa-vulkan-drivers'],
  [
    'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"',
    'On Ubuntu 24.04.1 LTS: apt install mesa-vulkan',
  ],
  ['ID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04"', 'update to Ubuntu 24.04'],
  ['ID=linuxmint\nID_LIKE="ubuntu debian"\nPRETTY_NAME=Mint', 'On Mint: apt install mesa-vulkan-drivers'],
  ['ID=fedora\nPRETTY_NAME=Fedora', 'dnf install'],
  ['ID=arch\nPRETTY_NAME=Arch', 'pacman -S'],
  ['ID=opensuse-leap\nID_LIKE="suse opensuse"', 'zypper install'],
  ['ID=alpine\nPRETTY_NAME=Alpine', 'Alpine uses musl'],
  ['', 'install the Vulkan loader'],
])('Linux with %j', (release, expected) => {
  expect(linux(release)).toContain(expected);
});

test('macOS, Windows and others', () => {
  expect(installAdvice({ platform: 'darwin', release: {} })).toContain('Metal');
  expect(installAdvice({ platform: 'win32', release: {} })).toContain('Direct3D 12');
  expect(installAdvice({ platform: 'freebsd', release: {} })).toContain('not for freebsd');
});

test('where only npm is needed for a software adapter, it is named after what the system can have', () => {
  const release = parseRelease('ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian 13"');
  const machine = { platform: 'linux', release, withoutSwiftShader: true };
  expect(installAdvice(machine)).toMatch(
    /^On Debian 13: apt install .* npm install @sparticuz\/chromium brings/,
  );
  expect(installAdvice({ ...machine, release: { ID: 'alpine' } })).not.toContain('npm install');
  expect(installAdvice({ ...machine, withoutSwiftShader: false })).not.toContain('npm install');
});
