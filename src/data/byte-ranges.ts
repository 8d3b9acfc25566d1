/** Bytes of a file read by range, so that no more of it is in memory than somebody wants. */
import { InvalidModel, UNet3DError } from '../errors.ts';
import { ByteStream } from './byte-stream.ts';
import { messageOf, openStored, sourceName, type Source } from './source.ts';

/** A file of which parts are read. */
export interface ByteRanges {
  /** What messages call the file. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /**
   * The bytes from `from` up to `to`, which may be a view of what the source holds.
   * @throws InvalidModel if the file ends before, or is another one than it was
   */
  read(from: number, to: number): Promise<Uint8Array>;
}

const isRanges = (source: Source | ByteRanges): source is ByteRanges => 'read' in Object(source);

/**
 * The bytes of a source, as they are stored; ranges are given back. What has no ranges (URLs, pipes) is taken into memory.
 * @param name what messages call the file
 * @throws InvalidModel if there is no such file, a folder, or what cannot be read to its end; InvalidVolume and InvalidOption as `openStored`
 */
export async function openRanges(
  source: Source | ByteRanges,
  name = isRanges(source) ? source.name : sourceName(source),
): Promise<ByteRanges> {
  if (isRanges(source)) return source;
  const stored = await openStored(source).catch((error: Error) => {
    if ((error.cause as { code?: string } | undefined)?.code !== 'EISDIR') throw error;
    throw new InvalidModel(
      `${name} is a folder: give the file in it, such as model.safetensors; folds, and models of nnU-Net, open with ` +
        'openEnsembleFolder, bundles of MONAI with MonaiPredictor.load',
      { cause: error },
    );
  });
  if (!stored) throw new InvalidModel(`${name} does not exist; check the path`);
  const { size, pieces, isChanged } = stored;
  if (size === undefined) {
    const stream = new ByteStream(pieces());
    const whole = await stream.take(Infinity).catch((cause: unknown) => {
      if (cause instanceof UNet3DError) throw cause;
      throw new InvalidModel(
        `${name} cannot be read to its end (${messageOf(cause)}): see whether it is still there, and give it again`,
        { cause },
      );
    });
    return openRanges(whole, name);
  }
  return {
    name,
    size,
    async read(from, to) {
      const early = (): InvalidModel =>
        new InvalidModel(
          `${name} ends at byte ${size} and should go on to ${to} at least; copy or download it again`,
        );
      if (!(from >= 0 && from <= to && to <= size)) throw early();
      const stream = new ByteStream(pieces(from, to));
      try {
        const bytes = await stream.take(to - from);
        // Numbers of two files would go together without a word.
        if (await isChanged?.())
          throw new InvalidModel(
            `${name} has been replaced or removed since it was opened: open the model again`,
          );
        if (bytes.length < to - from) throw early(); // it has become shorter
        return bytes;
      } catch (cause) {
        if (cause instanceof UNet3DError) throw cause;
        // A browser's word for a File that was changed or moved since it was chosen.
        throw new InvalidModel(
          `${name} cannot be read any more (${messageOf(cause)}): has it been changed or moved? Give it again`,
          { cause },
        );
      } finally {
        await stream.close();
      }
    },
  };
}
