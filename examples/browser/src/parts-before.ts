/** What cases of the page were for in the training that the open network comes from: by their images, whatever they are called. */
import { bytesOf, identityOf } from './annotate/kept-drawings.ts';
import { keyOf } from './kept/data.ts';
import { keptData, keptRun } from './kept/runs.ts';
import { state, type Images, type PageCase } from './state.ts';

type Before = Pick<PageCase, 'images' | 'part'>;

/** Of the training at hand, or of one that is kept; none where neither is there. */
async function casesBefore(): Promise<readonly Before[]> {
  const { run, modelRun } = state;
  if (modelRun === undefined) return [];
  if (run?.id === modelRun) return run.cases;
  const record = await keptRun(modelRun).catch(() => undefined); // a browser that keeps nothing
  const data = record && (await keptData(record.data));
  const parts = new Map(record?.cases.map(({ id, part }) => [id, part]));
  return (data?.cases ?? []).flatMap(({ id, images }) => {
    const part = parts.get(id);
    return part ? [{ images: images as Images, part }] : [];
  });
}

export async function partsBefore(): Promise<ReadonlyMap<Images, PageCase['part']>> {
  const before = await casesBefore();
  const known = new Map(before.map(({ images, part }) => [keyOf(images) ?? images, part]));
  const found = new Map<Images, PageCase['part']>();
  for (const { images } of state.cases) {
    const part = known.get(keyOf(images) ?? images);
    if (part) found.set(images, part);
  }
  // Of the others, files are read only where one of the training has as many bytes.
  const others = state.cases.filter(({ images }) => !found.has(images));
  const sizes = new Set(others.map(({ images }) => bytesOf(images)));
  const alike = new Map<string, PageCase['part']>();
  for (const { images, part } of before)
    if (sizes.has(bytesOf(images))) alike.set(await identityOf(images), part);
  const sizesBefore = new Set(before.map(({ images }) => bytesOf(images)));
  for (const { images } of others) {
    const part = sizesBefore.has(bytesOf(images)) && alike.get(await identityOf(images));
    if (part) found.set(images, part);
  }
  return found;
}
