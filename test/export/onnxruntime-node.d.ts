/** The package brings no types of its own; what is used of it here is alike in onnxruntime-web. */
declare module 'onnxruntime-node' {
  export * from 'onnxruntime-web';
}
