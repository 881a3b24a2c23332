#!/usr/bin/python3
"""PyTorch as a peer: `torch_peer.py THREADS [DEVICE [DTYPE [compile]]]` serves the protocol of protocol.ts.

DEVICE is cpu, cuda or cuda:<index>, DTYPE that of floats, f32 or bf16; `compile` gives every op to torch.compile.

An op is a function of its inputs and integers that returns its variants, {name: function without arguments}: the
fastest is measured. The environment (allocator, instruction set, waiting) is set by registry.ts.
"""
import ctypes
import sys
import time
from urllib.parse import quote, unquote

import torch
import torch.nn.functional as F

import torch_ops

TYPES = {"f32": torch.float32, "f64": torch.float64, "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8}
NAMES = {dtype: name for name, dtype in TYPES.items()}

torch_ops.DEVICE = DEVICE = sys.argv[2] if len(sys.argv) > 2 else "cpu"
torch_ops.DTYPE = DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16}[sys.argv[3] if len(sys.argv) > 3 else "f32"]
torch_ops.COMPILE = sys.argv[4:] == ["compile"]


def read_message():
    line = sys.stdin.buffer.readline().decode()
    if not line:
        return None
    verb, *words = line.split()
    fields = {key: unquote(value) for key, value in (word.split("=", 1) for word in words)}
    return verb, fields, bytearray(sys.stdin.buffer.read(int(fields.get("bytes", 0))))


def read_tensors(description, payload):
    tensors, offset = [], 0
    for item in description.split(",") if description else []:
        name, extents = item.split(":")
        shape = [int(extent) for extent in extents.split("x")] if extents else []
        count = torch.Size(shape).numel()
        if count:
            flat = torch.frombuffer(payload, dtype=TYPES[name], count=count, offset=offset)
        else:
            flat = torch.empty(0, dtype=TYPES[name])
        placed = flat.reshape(shape).clone().to(DEVICE)
        tensors.append(placed.to(DTYPE) if name == "f32" else placed)
        offset += flat.numel() * flat.element_size()
    return tensors


def send(verb, tensors=(), **fields):
    tensors = [(x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().contiguous() for x in tensors]
    if tensors:
        fields["tensors"] = ",".join(f"{NAMES[x.dtype]}:{'x'.join(map(str, x.shape))}" for x in tensors)
        fields["bytes"] = sum(x.numel() * x.element_size() for x in tensors)
    words = [verb] + [f"{key}={quote(str(value), safe=',')}" for key, value in fields.items()]
    sys.stdout.buffer.write((" ".join(words) + "\n").encode())
    for x in tensors:
        sys.stdout.buffer.write(ctypes.string_at(x.data_ptr(), x.numel() * x.element_size()))
    sys.stdout.buffer.flush()


def wait():
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def time_runs(run, iterations):
    if iterations > 1:
        run()
    wait()
    start = time.perf_counter()
    for _ in range(iterations):
        run()
    wait()
    return 1e3 * (time.perf_counter() - start)


def prepare(fields, payload):
    """The fastest variant's name and function, and what its first run gave."""
    inputs = read_tensors(fields.get("tensors"), payload)
    params = {key: int(value) for key, value in fields.items() if key not in ("op", "tensors", "bytes")}
    variants = torch_ops.OPS[fields["op"]](inputs, params)
    if fields["op"] not in torch_ops.COMPILED_THEMSELVES:
        variants = {name: torch_ops.compiled(run) for name, run in variants.items()}
    first = {name: run() for name, run in variants.items()}
    times = {name: min(time_runs(run, 1) for _ in range(3)) for name, run in variants.items()} if len(variants) > 1 else {}
    best = min(times, key=times.get) if times else next(iter(variants))
    return best, variants[best], first[best]


def isa():
    if DEVICE != "cpu":
        return f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name(DEVICE)}"
    lines = [line for line in torch.__config__.show().splitlines() if "CPU capability" in line]
    return lines[0].split(":")[-1].strip() if lines else "unknown"


def main():
    threads = int(sys.argv[1])
    if DEVICE != "cpu":
        if not torch.cuda.is_available():
            sys.exit(f"PyTorch {torch.__version__} finds no CUDA device")
        torch.cuda.set_device(DEVICE if ":" in DEVICE else "cuda:0")
    if torch_ops.COMPILE and not hasattr(torch, "compile"):
        sys.exit(f"PyTorch {torch.__version__} has no torch.compile")
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    send("hello", name="torch.compile" if torch_ops.COMPILE else "torch", version=torch.__version__, isa=isa(), threads=threads, ops=",".join(torch_ops.OPS))
    run = None
    while (message := read_message()) is not None:
        verb, fields, payload = message
        try:
            if verb == "prepare":
                run = None
                name, run, outputs = prepare(fields, payload)
                send("ready", outputs, **({"variant": name} if name else {}))
            elif verb == "time":
                send("took", ms=time_runs(run, int(fields["iterations"])))
            else:
                run = None
                send("released")
        except Exception as error:  # the benchmark names it beside the case
            send("failed", message=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
