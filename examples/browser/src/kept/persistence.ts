/** What this browser keeps is to stay, however full the disk gets. */

let isAsked = false;

/** Asks the browser for that, once in a visit. */
export function keepForGood(): void {
  if (isAsked) return;
  isAsked = true;
  void (navigator as Partial<Navigator>).storage?.persist?.().catch(() => false);
}
