#!/usr/bin/python3
"""PIL and numpy as a peer: `pillow_peer.py THREADS` serves the protocol of protocol.ts. Both use one thread."""
import io
import sys
import time
from urllib.parse import quote, unquote

import numpy as np
import PIL
from PIL import Image

TYPES = {"f32": np.dtype("<f4"), "u8": np.dtype("u1")}
NAMES = {dtype: name for name, dtype in TYPES.items()}
DEPTH_STEPS = 2**24 - 1


def png_frame(inputs, params):
    """RLBench's colour and depth image: u8 colours and f32 metres. Near and far plane are in millimetres."""
    near, far = params["near"] / 1000, params["far"] / 1000
    color, depth = (bytes(image) for image in inputs)

    def run():
        rgb = np.asarray(Image.open(io.BytesIO(color)))
        steps = np.asarray(Image.open(io.BytesIO(depth))).astype(np.float64)
        share = (65536 * steps[..., 0] + 256 * steps[..., 1] + steps[..., 2]) / DEPTH_STEPS
        return rgb, (near + share * (far - near)).astype(np.float32)

    return run


OPS = {"png_frame": png_frame}


def read_message():
    line = sys.stdin.buffer.readline().decode()
    if not line:
        return None
    verb, *words = line.split()
    fields = {key: unquote(value) for key, value in (word.split("=", 1) for word in words)}
    return verb, fields, sys.stdin.buffer.read(int(fields.get("bytes", 0)))


def read_arrays(description, payload):
    arrays, offset = [], 0
    for item in description.split(",") if description else []:
        name, extents = item.split(":")
        shape = [int(extent) for extent in extents.split("x")] if extents else []
        array = np.frombuffer(payload, TYPES[name], int(np.prod(shape)), offset).reshape(shape)
        arrays.append(array)
        offset += array.nbytes
    return arrays


def send(verb, arrays=(), **fields):
    if arrays:
        fields["tensors"] = ",".join(f"{NAMES[x.dtype]}:{'x'.join(map(str, x.shape))}" for x in arrays)
        fields["bytes"] = sum(x.nbytes for x in arrays)
    words = [verb] + [f"{key}={quote(str(value), safe=',')}" for key, value in fields.items()]
    sys.stdout.buffer.write((" ".join(words) + "\n").encode())
    for x in arrays:
        sys.stdout.buffer.write(np.ascontiguousarray(x).tobytes())
    sys.stdout.buffer.flush()


def time_runs(run, iterations):
    if iterations > 1:
        run()
    start = time.perf_counter()
    for _ in range(iterations):
        run()
    return 1e3 * (time.perf_counter() - start)


def main():
    version = f"PIL {PIL.__version__}, numpy {np.__version__}"
    send("hello", name="pillow", version=version, isa="", threads=1, ops=",".join(OPS))
    run = None
    while (message := read_message()) is not None:
        verb, fields, payload = message
        try:
            if verb == "prepare":
                inputs = read_arrays(fields.get("tensors"), payload)
                params = {key: int(value) for key, value in fields.items() if key not in ("op", "tensors", "bytes")}
                run = OPS[fields["op"]](inputs, params)
                send("ready", run())
            elif verb == "time":
                send("took", ms=time_runs(run, int(fields["iterations"])))
            else:
                run = None
                send("released")
        except Exception as error:  # the benchmark names it beside the case
            send("failed", message=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
