/** What is shown under a tab. */
export interface View {
  readonly element: HTMLElement;
  /** Ends its listening and frees what it has; it is not shown again. */
  dispose(): void;
}
