/** Files that a person gives as a model of another tool, or as several networks. */
import { filesInZip, type FileEntry } from 'unet3d-gpu/worker';

/** The files of a model, or its archive. */
export type ModelSource = readonly FileEntry[] | File;

export const pathsOf = async (files: ModelSource): Promise<readonly { readonly path: string }[]> =>
  files instanceof File ? filesInZip(files) : files;

/** Which of some files are a model of another tool, or several of this package's; undefined if none are. */
export function foreignAmong(entries: readonly FileEntry[]): ModelSource | undefined {
  const archive = entries.find(({ path }) => /\.zip$/i.test(path));
  if (archive) return archive.source as File;
  if (entries.some(({ path }) => /(^|\/)(plans|configs\/metadata)\.json$/.test(path))) return entries;
  const weights = entries.filter(({ path }) => /\.(pt|pth|ckpt)$/i.test(path));
  if (weights.length > 0) return entries.filter(({ path }) => /\.(pt|pth|ckpt|json)$/i.test(path));
  const own = entries.filter(({ path }) => path.endsWith('.safetensors'));
  // Beside the folds of a cross-validation lies what it chose to do to their labels.
  return own.length > 1 ? entries.filter(({ path }) => /\.(safetensors|json)$/.test(path)) : undefined;
}

/** What lies in and beside models. */
const notVolumes = /\.(zip|json|pth?|ckpt|safetensors|pkl|py|ya?ml|md|txt|log|png|pdf)$/i;

/** The volumes that are given together with a model of another tool: what lies in its own folders is none of them. */
export function besideModel(entries: readonly FileEntry[]): FileEntry[] {
  const others = entries.filter(({ path }) => !notVolumes.test(path));
  const folders = entries
    .map(({ path }) => /^(?:(.*)\/)?(?:plans|configs\/metadata)\.json$/.exec(path))
    .filter((found) => found !== null)
    .map(([, folder]) => (folder === undefined ? undefined : `${folder}/`));
  return others.filter(({ path }) =>
    folders.every((folder) => !(folder === undefined ? path.includes('/') : path.startsWith(folder))),
  );
}
