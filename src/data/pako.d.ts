/** Types of pako's part that inflates, which its package only gives for the whole. */
declare module 'pako/browser/inflate' {
  export { Inflate } from 'pako';
}
