/** Files that were dropped, which are there once all folders among them are listed. */
import { attempt, counted, unlessAborted, unsaid } from './dom.ts';

/** Lists what was dropped, with the paths inside of dropped folders. @throws what the signal is aborted with */
export type Listing = (signal: AbortSignal, onProgress: (files: number) => void) => Promise<File[]>;

/** To be called while the event is handled: afterwards nobody may look at what was dropped. */
function listingOf({ items }: DataTransfer): Listing {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  return async (signal, onProgress) => {
    const found: File[] = [];
    const visit = async (entry: FileSystemEntry): Promise<void> => {
      signal.throwIfAborted();
      if (!entry.isFile) {
        for await (const inner of insideOf(entry as FileSystemDirectoryEntry)) await visit(inner);
        return;
      }
      const file = await new Promise<File>((resolve, reject) =>
        (entry as FileSystemFileEntry).file(resolve, reject),
      );
      Object.defineProperty(file, 'webkitRelativePath', { value: entry.fullPath.slice(1) });
      found.push(file);
      onProgress(found.length);
    };
    for (const entry of entries) await visit(entry);
    return found;
  };
}

async function* insideOf(folder: FileSystemDirectoryEntry): AsyncGenerator<FileSystemEntry> {
  const reader = folder.createReader();
  for (;;) {
    // A folder is read in parts; an empty part is the end.
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (part.length === 0) return;
    yield* part;
  }
}

/** Makes an element take dropped files. @param take lists them first; what it fails with is said on the page */
export function dropZone<T extends HTMLElement>(zone: T, take: (list: Listing) => unknown): T {
  zone.addEventListener('dragover', (event) => {
    event.preventDefault();
    zone.classList.add('over');
  });
  zone.addEventListener('dragleave', () => zone.classList.remove('over'));
  zone.addEventListener('drop', (event) => {
    event.preventDefault();
    zone.classList.remove('over');
    if (!event.dataTransfer) return;
    const list = listingOf(event.dataTransfer);
    void attempt('Read what was dropped', () => take(list));
  });
  return zone;
}

/** Milliseconds: nobody reads faster. */
const betweenProgress = 100;

/**
 * The files of a listing; undefined where it was cancelled.
 * @param say is told how far it is, where it takes its time
 */
export async function listed(
  list: Listing,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<File[] | undefined> {
  let count = 0;
  let told = Infinity;
  const tell = (): void => {
    told = performance.now();
    if (!signal.aborted) say(`Listing what was dropped: ${counted(count, 'file')} so far`);
  };
  const soon = setTimeout(tell, unsaid);
  const onProgress = (files: number): void => {
    count = files;
    if (performance.now() - told > betweenProgress) tell();
  };
  try {
    return await unlessAborted(list(signal, onProgress), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    return undefined;
  } finally {
    clearTimeout(soon);
  }
}
