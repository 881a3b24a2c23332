import { type Picklable, pickle, pyArray, pyCall, pyGlobal, pyPersistent, pyTuple } from "@md/pickle";
import Blosc from "numcodecs/blosc";

/** Parts of a 3D Diffuser Actor package. */
export interface Package {
  frameIds: number[];
  /** [steps, cameras, 2, 3, height, width]. */
  observations: { data: Float64Array; shape: number[] };
  /** [8] each. */
  actions: number[][];
  cameras: string[];
  gripper: number[][];
  /** Rows of 8 each. */
  trajectories: number[][][] | null;
}

/** A package of made-up numbers. */
export function makePackage(steps: number, cameras: readonly string[], side: number): Package {
  const shape = [steps, cameras.length, 2, 3, side, side];
  const data = new Float64Array(shape.reduce((product, size) => product * size, 1));
  const plane = 3 * side * side;
  for (let i = 0; i < data.length; i++) {
    const isColor = Math.floor(i / plane) % 2 === 0;
    const axis = Math.floor(i / (side * side)) % 3;
    const spread = ((i * 7919) % 101) / 101;
    data[i] = Math.fround(isColor ? 2 * spread - 1 : axis === 2 ? 0.9 + 0.3 * spread : 0.4 * spread);
  }
  const state = (step: number): number[] => [0.1, 0.2, 1 + step / 8, 0, 0, 0, 1, step % 2];
  const all = Array.from({ length: steps + 1 }, (_, step) => state(step));
  return {
    frameIds: Array.from({ length: steps }, (_, step) => step),
    observations: { data, shape },
    actions: all.slice(1),
    cameras: [...cameras],
    gripper: all.slice(0, -1),
    trajectories: all.slice(1).map((row, step) => [all[step], row]),
  };
}

/** The pickle of a package, its tensors as `pickle.dump` writes them. */
export function picklePackage({
  frameIds,
  observations,
  actions,
  cameras,
  gripper,
  trajectories,
}: Package): Uint8Array {
  const dict = new Map<string, Picklable>(cameras.map((name) => [name, pyTuple([1, 2])]));
  const parts: Picklable[] = [
    frameIds,
    pyArray(observations.data, observations.shape),
    actions.map((row) => pickledTensor([row])),
    Array.from({ length: frameIds.length + 1 }, () => dict),
    gripper.map((row) => pickledTensor([row])),
  ];
  if (trajectories) parts.push(trajectories.map(pickledTensor));
  return pickle(parts, 3);
}

/** A blosc chunk, as python-blosc writes it. */
export const compressBlosc = (bytes: Uint8Array): Promise<Uint8Array> => new Blosc(5, "blosclz").encode(bytes);

/** A float32 tensor that brings its storage along as a file in PyTorch's legacy layout. */
function pickledTensor(rows: readonly (readonly number[])[]): Picklable {
  const data = Float32Array.from(rows.flat());
  const columns = rows[0].length;
  return pyCall(
    pyGlobal("torch._utils", "_rebuild_tensor_v2"),
    pyCall(pyGlobal("torch.storage", "_load_from_bytes"), pickledBytes(legacyStorage(data))),
    0,
    pyTuple([rows.length, columns]),
    pyTuple([columns, 1]),
    false,
    pyCall(pyGlobal("collections", "OrderedDict")),
  );
}

function legacyStorage(data: Float32Array): Uint8Array {
  const id = pyTuple(["storage", pyGlobal("torch", "FloatStorage"), "7", "cpu", data.length, null]);
  const length = Buffer.alloc(8);
  length.writeBigInt64LE(BigInt(data.length));
  return Buffer.concat([
    Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex"),
    pickle(1001, 2),
    pickle(new Map<string, Picklable>([["little_endian", true]]), 2),
    pickle(pyPersistent(id), 2),
    pickle(["7"], 2),
    length,
    Buffer.from(data.buffer),
  ]);
}

// As protocol 2 writes bytes.
const pickledBytes = (bytes: Uint8Array): Picklable =>
  pyCall(pyGlobal("_codecs", "encode"), Buffer.from(bytes).toString("latin1"), "latin1");
