/** The errors of a file of PyTorch, each with what to do about it. */
import { InvalidModel } from '../../errors.ts';

export interface Failures {
  /** Of a problem with the file's bytes, such as `its pickle ends early`. */
  readonly damaged: (problem: string) => InvalidModel;
  /** Of something in it that is for Python only, such as `a call of os.system`. */
  readonly refused: (what: string) => InvalidModel;
  /** Of a file that is of another kind, with what to do. */
  readonly other: (problem: string) => InvalidModel;
}

/** @param name what messages call the file */
export const failuresOf = (name: string): Failures => ({
  damaged: (problem) =>
    new InvalidModel(
      `${name} is not a readable file of PyTorch: ${problem}; take another copy of the file or save it again`,
    ),
  refused: (what) =>
    new InvalidModel(
      `${name} holds ${what}, which only Python can make, and nothing of a file is executed here; if you trust the ` +
        'file, load it in Python and save the weights alone: torch.save(model.state_dict(), "weights.pth"), or ' +
        'safetensors.torch.save_file',
    ),
  other: (problem) => new InvalidModel(`${name} cannot be read as weights of PyTorch: ${problem}`),
});
