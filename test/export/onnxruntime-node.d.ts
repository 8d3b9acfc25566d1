/** The package brings no types of its own. */
declare module 'onnxruntime-node' {
  export * from 'onnxruntime-common';
}
