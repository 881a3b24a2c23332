"""The ops of the suites in PyTorch, each in the ways that might be the fastest; see torch_peer.py.

The inputs of an op that ends in Grad end with the cotangent; its outputs are the result, then the gradients.
"""
import importlib.util
import os

import torch
import torch.nn.functional as F

OPS = {}

# Set by torch_peer.py: where inputs lie, what floats are given in, and whether torch.compile is to compile.
DEVICE = "cpu"
DTYPE = torch.float32
COMPILE = False
COMPILED_THEMSELVES = {"miniDiffuserStep"}


def compiled(function, **options):
    return torch.compile(function, **options) if COMPILE else function


def op(function):
    OPS[function.__name__] = function
    return function


def plain(run):
    """The only variant of an op with one output or several."""

    def listed():
        result = run()
        return list(result) if isinstance(result, (tuple, list)) else [result]

    return {"": listed}


def with_gradients(forward, inputs, wanted):
    """Runs forward and backward; the last of `inputs` is the cotangent."""
    leaves = [x.requires_grad_(i < wanted) for i, x in enumerate(inputs[:-1])]

    def run():
        out = forward(*leaves)
        return [out, *torch.autograd.grad(out, leaves[:wanted], inputs[-1])]

    return run


# ---- matrix products, elementwise, norms

@op
def linear(inputs, _):
    x, weight = inputs
    return plain(lambda: F.linear(x, weight))


@op
def linearGradX(inputs, _):
    grad, weight = inputs
    return plain(lambda: grad @ weight)


@op
def linearGradW(inputs, _):
    grad, x = inputs
    return plain(lambda: grad.t() @ x)


def residual_ways():
    return {
        "added": lambda x, weight, bias, residual: residual + F.linear(x, weight, bias),
        "added in place": lambda x, weight, bias, residual: F.linear(x, weight, bias).add_(residual),
    }


@op
def linearResidual(inputs, _):
    return {name: lambda way=way: [way(*inputs)] for name, way in residual_ways().items()}


@op
def linearResidualGrad(inputs, _):
    return {name: with_gradients(way, inputs, 4) for name, way in residual_ways().items()}


@op
def add(inputs, _):
    a, b = inputs
    return plain(lambda: a + b)


@op
def gelu(inputs, _):
    return plain(lambda: F.gelu(inputs[0]))


@op
def relu(inputs, _):
    return plain(lambda: torch.relu(inputs[0]))


@op
def exp(inputs, _):
    return plain(lambda: torch.exp(inputs[0]))


@op
def geluGrad(inputs, _):
    return {"": with_gradients(F.gelu, inputs, 1)}


@op
def softmax(inputs, _):
    return plain(lambda: torch.softmax(inputs[0], -1))


@op
def layerNorm(inputs, _):
    x, weight, bias = inputs
    return plain(lambda: F.layer_norm(x, weight.shape, weight, bias))


@op
def layerNormGrad(inputs, _):
    return {"": with_gradients(lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias), inputs, 3)}


def modulation_ways():
    """A scale and a shift have the leading axes of x that come before those whose rows share them."""

    def norm(x, weight, bias):
        return F.layer_norm(x, weight.shape, weight, bias)

    def aligned(x, modulation):
        return modulation.unsqueeze(1) if modulation.dim() < x.dim() else modulation

    def composed(x, weight, bias, scale, shift):
        return norm(x, weight, bias) * (1 + aligned(x, scale)) + aligned(x, shift)

    def by_addcmul(x, weight, bias, scale, shift):
        return torch.addcmul(aligned(x, shift), norm(x, weight, bias), 1 + aligned(x, scale))

    return {"composed": composed, "addcmul": by_addcmul}


@op
def modulatedLayerNorm(inputs, _):
    return {name: lambda way=way: [way(*inputs)] for name, way in modulation_ways().items()}


@op
def modulatedLayerNormGrad(inputs, _):
    return {name: with_gradients(way, inputs, 5) for name, way in modulation_ways().items()}


@op
def crossEntropy(inputs, _):
    logits, target = inputs[0], inputs[1].long()
    return plain(lambda: torch.nn.functional.cross_entropy(logits, target))


@op
def crossEntropyGrad(inputs, _):
    logits, target, grad = inputs[0], inputs[1].long(), inputs[2]

    def loss(x):
        return torch.nn.functional.cross_entropy(x, target)

    return {"": with_gradients(loss, [logits, grad], 1)}


@op
def softmaxGrad(inputs, _):
    return {"": with_gradients(lambda x: torch.softmax(x, -1), inputs, 1)}


def batch_norm(x, weight, bias):
    return F.batch_norm(x, None, None, weight, bias, training=True)


@op
def batchNorm(inputs, _):
    return plain(lambda: batch_norm(*inputs))


@op
def batchNormGrad(inputs, _):
    return {"": with_gradients(batch_norm, inputs, 3)}


# ---- attention: q, k, v are [tokens, heads, headDim], the result too

def by_softmax(q, k, v, mask):
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    return torch.matmul(torch.softmax(scores if mask is None else scores + mask, -1), v)


def by_sdpa(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def by_private_sdpa(q, k, v, mask):  # what PyTorch 1.13 has of it
    return F._scaled_dot_product_attention(q, k, v, mask)[0]


def attention_ways():
    ways = {"softmax": by_softmax}
    if hasattr(F, "scaled_dot_product_attention"):
        ways["scaled_dot_product_attention"] = by_sdpa
    elif hasattr(F, "_scaled_dot_product_attention"):
        ways["_scaled_dot_product_attention"] = by_private_sdpa
    return ways


def level2_mask(samples, tokens_per_sample, condition_tokens):
    """Additive: a sample sees itself and the condition, the condition itself (Mini-Diffuser, Eq. 13)."""
    actions = samples * tokens_per_sample
    sample = torch.arange(actions + condition_tokens) // tokens_per_sample
    condition = torch.arange(actions + condition_tokens) >= actions
    allowed = condition[None, :] | ((sample[:, None] == sample[None, :]) & ~condition[:, None])
    return torch.zeros(allowed.shape).masked_fill(~allowed, float("-inf"))


def level2(way, mask):
    heads = lambda x: x.transpose(0, 1)[None]
    return lambda q, k, v: way(heads(q), heads(k), heads(v), mask)[0].transpose(0, 1)


@op
def level2Attention(inputs, params):
    mask = level2_mask(params["samples"], params["tokensPerSample"], params["conditionTokens"]).to(inputs[0])

    def variant(way):
        forward = level2(way, mask)
        return lambda: [forward(*inputs)]

    return {name: variant(way) for name, way in attention_ways().items()}


@op
def level2AttentionGrad(inputs, params):
    mask = level2_mask(params["samples"], params["tokensPerSample"], params["conditionTokens"]).to(inputs[0])
    return {name: with_gradients(level2(way, mask), inputs, 3) for name, way in attention_ways().items()}


def patches(way, size):
    def forward(q, k, v):
        split = lambda x: x.view(-1, size, *x.shape[1:]).transpose(1, 2)
        return way(split(q), split(k), split(v), None).transpose(1, 2).reshape(q.shape)

    return forward


@op
def patchAttentionGrad(inputs, params):
    return {name: with_gradients(patches(way, params["patch"]), inputs, 3) for name, way in attention_ways().items()}


# ---- voxels: points [P, 3] of one item, all coordinates of voxels from 0 up

SHIFT = 20  # bits an axis of a key


def keys_of(voxels):
    x, y, z = (voxels + 1).unbind(1)
    return (x << 2 * SHIFT) | (y << SHIFT) | z


def offset_keys():
    axis = torch.arange(-1, 2, device=DEVICE)
    return ((axis[:, None, None] << 2 * SHIFT) + (axis[None, :, None] << SHIFT) + axis[None, None, :]).reshape(27)


def find(keys, wanted):
    at = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return torch.where(keys[at] == wanted, at, -1)


@op
def voxelHashNeighbours(inputs, _):
    points, offsets = inputs[0], offset_keys()

    def variant(find_all):
        def run():
            keys, voxel_of_point = torch.unique(keys_of(torch.floor(points).long()), sorted=True, return_inverse=True)
            return [voxel_of_point, find_all(keys)]

        return run

    return {
        "one search": variant(lambda keys: find(keys, keys[:, None] + offsets)),
        "a search an offset": variant(lambda keys: torch.stack([find(keys, keys + o) for o in offsets], 1)),
    }


@op
def localQueryGrad(inputs, _):
    """Convolves at every voxel by gather, product and scatter, then looks the queries' voxels up."""
    points, queries, features, weight, grad = inputs
    keys, voxel_of_point = torch.unique(keys_of(torch.floor(points).long()), sorted=True, return_inverse=True)
    count = torch.bincount(voxel_of_point, minlength=len(keys))[:, None]
    offsets, voxels = offset_keys(), len(keys)
    features.requires_grad_(), weight.requires_grad_()

    def run():
        at_query = find(keys, keys_of(torch.floor(queries).long()))
        means = features.new_zeros(voxels, features.shape[1]).index_add(0, voxel_of_point, features) / count
        pairs = []
        for offset in offsets:
            neighbour = find(keys, keys + offset)
            out = torch.nonzero(neighbour >= 0).squeeze(1)
            pairs.append((out, neighbour[out]))
        sizes = [len(out) for out, _ in pairs]
        gathered = means.index_select(0, torch.cat([source for _, source in pairs])).split(sizes)
        products = torch.cat([rows @ matrix.t() for rows, matrix in zip(gathered, weight.unbind(0))])
        everywhere = features.new_zeros(voxels, weight.shape[1]).index_add(0, torch.cat([out for out, _ in pairs]), products)
        result = everywhere.index_select(0, at_query)
        return [result, *torch.autograd.grad(result, [features, weight], grad)]

    return {"": run}


@op
def submConv3dGrad(inputs, _):
    """Gathers rows by offset, multiplies them offset by offset, and adds the products to their outputs."""
    cells, features, weight, grad = inputs
    keys = keys_of(cells.long())
    pairs = []
    for offset in offset_keys():
        neighbour = find(keys, keys + offset)
        out = torch.nonzero(neighbour >= 0).squeeze(1)
        pairs.append((out, neighbour[out]))
    sizes = [len(out) for out, _ in pairs]
    all_out, all_in = torch.cat([out for out, _ in pairs]), torch.cat([source for _, source in pairs])

    def matrices(weight):
        return weight.reshape(weight.shape[0], 27, -1).unbind(1)

    def grouped(x, weight):
        gathered = x.index_select(0, all_in).split(sizes)
        products = torch.cat([rows @ matrix.t() for rows, matrix in zip(gathered, matrices(weight))])
        return x.new_zeros(x.shape[0], weight.shape[0]).index_add(0, all_out, products)

    def by_offset(x, weight):
        result = x.new_zeros(x.shape[0], weight.shape[0])
        for (out, source), matrix in zip(pairs, matrices(weight)):
            result = result.index_add(0, out, x.index_select(0, source) @ matrix.t())
        return result

    return {
        "grouped": with_gradients(grouped, [features, weight, grad], 2),
        "an offset at a time": with_gradients(by_offset, [features, weight, grad], 2),
    }


@op
def segmentMean(inputs, _):
    x, offsets = inputs
    lengths = offsets.diff().long()
    index = torch.repeat_interleave(torch.arange(len(lengths), device=DEVICE), lengths)

    def added():
        return [x.new_zeros(len(lengths), x.shape[1]).index_add(0, index, x) / lengths[:, None]]

    variants = {"index_add": added}
    if hasattr(torch, "segment_reduce"):
        variants["segment_reduce"] = lambda: [torch.segment_reduce(x, "mean", lengths=lengths, axis=0)]
    return variants


@op
def segmentMaxGrad(inputs, _):
    x, offsets, grad = inputs
    lengths = offsets.diff().long()
    index = torch.repeat_interleave(torch.arange(len(lengths), device=DEVICE), lengths)[:, None].expand_as(x)

    def scattered(x):
        return x.new_zeros(len(lengths), x.shape[1]).scatter_reduce(0, index, x, "amax", include_self=False)

    variants = {"scatter_reduce": with_gradients(scattered, [x, grad], 1)}
    if hasattr(torch, "segment_reduce"):
        by_segments = lambda x: torch.segment_reduce(x, "max", lengths=lengths, axis=0)
        variants["segment_reduce"] = with_gradients(by_segments, [x, grad], 1)
    return variants


@op
def zOrder(inputs, _):
    """Bits of x, y and z interleaved, 16 an axis, and a stable sort."""
    x, y, z = inputs[0].long().unbind(1)

    def run():
        code = torch.zeros_like(x)
        for bit in range(16):
            for axis, cell in enumerate((z, y, x)):
                code |= ((cell >> bit) & 1) << (3 * bit + axis)
        return [code, torch.argsort(code, stable=True).int()]

    return {"": run}


# ---- images, sorting

@op
def conv2d(inputs, params):
    x, weight, bias = inputs
    return plain(lambda: F.conv2d(x, weight, bias, stride=params["stride"], padding=params["padding"]))


@op
def conv2dGrad(inputs, params):
    forward = lambda x, weight, bias: F.conv2d(x, weight, bias, stride=params["stride"], padding=params["padding"])
    return {"": with_gradients(forward, inputs, 3)}


@op
def sort(inputs, _):
    return plain(lambda: torch.sort(inputs[0], stable=True))


@op
def topk(inputs, params):
    return plain(lambda: torch.topk(inputs[0], params["k"]).values)


@op
def cumsum(inputs, _):
    return plain(lambda: torch.cumsum(inputs[0], 0))


# ---- training

def matrices(flat, params):
    return [part.reshape(params["rows"], params["rows"]) for part in flat.chunk(params["count"])]


@op
def adamw(inputs, params):
    """One step on `count` matrices [rows, rows] cut from flat parameters; the result is that of the first step."""
    flat, grads = inputs

    def variant(**options):
        parameters = [torch.nn.Parameter(part.clone()) for part in matrices(flat, params)]
        for parameter, grad in zip(parameters, matrices(grads, params)):
            parameter.grad = grad
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, **options)

        def run():
            first = not optimizer.state
            optimizer.step()
            return [torch.cat([p.detach().flatten() for p in parameters])] if first else []

        return run

    variants = {"foreach": variant(foreach=True), "a loop": variant(foreach=False)}
    try:
        variants["fused"] = variant(fused=True)
    except (TypeError, RuntimeError, ValueError):  # not in this version, or not on the CPU
        pass
    return variants


@op
def gradNorm(inputs, params):
    grads = matrices(inputs[0], params)
    return {
        "norm of norms": lambda: [torch.stack([torch.linalg.vector_norm(g) for g in grads]).norm()],
        "foreach": lambda: [torch.stack(torch._foreach_norm(grads)).norm()],
    }


@op
def movingAverages(inputs, params):
    """The result of the first update, as of ours."""

    def variant(update):
        flat = inputs[0].clone()
        averages, parameters = matrices(flat, params), matrices(inputs[1], params)
        updated = []

        def run():
            update(averages, parameters)
            updated.append(True)
            return [flat.clone()] if len(updated) == 1 else []

        return run

    def by_foreach(averages, parameters):
        torch._foreach_mul_(averages, 0.999)
        torch._foreach_add_(averages, parameters, alpha=1 - 0.999)

    def by_lerp(averages, parameters):
        for average, parameter in zip(averages, parameters):
            average.lerp_(parameter, 1 - 0.999)

    return {"foreach": variant(by_foreach), "a loop": variant(by_lerp)}


@op
def smallAdds(inputs, params):
    a, b = inputs

    def run():
        for _ in range(params["count"]):
            out = a + b
        return [out]

    return {"": run}


@op
def chainGrad(inputs, params):
    def forward(x, y):
        for _ in range(params["count"]):
            x = x * y + y
        return x

    return {"": with_gradients(forward, inputs, 2)}


def transformer_block(x, weights, heads):
    ln1_w, ln1_b, qkv_w, qkv_b, out_w, out_b, ln2_w, ln2_b, up_w, up_b, down_w, down_b = weights
    batch, tokens, width = x.shape
    qkv = F.linear(F.layer_norm(x, (width,), ln1_w, ln1_b), qkv_w, qkv_b)
    q, k, v = qkv.view(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
    way = list(attention_ways().values())[-1]
    x = x + F.linear(way(q, k, v, None).transpose(1, 2).reshape(x.shape), out_w, out_b)
    hidden = F.gelu(F.linear(F.layer_norm(x, (width,), ln2_w, ln2_b), up_w, up_b))
    return x + F.linear(hidden, down_w, down_b)


@op
def trainStep(inputs, params):
    """Loss, backward pass and AdamW; the result is the first step's loss and the parameters after it, flat."""
    x, target, *weights = inputs

    def variant(foreach):
        parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, foreach=foreach)

        def run():
            first = not optimizer.state
            y = x
            for i in range(0, len(parameters), 12):
                y = transformer_block(y, parameters[i : i + 12], params["heads"])
            loss = F.mse_loss(y, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return [loss, torch.cat([p.detach().flatten() for p in parameters])] if first else []

        return run

    return {"foreach": variant(True), "a loop": variant(False)}


def in_dtype(convolution):
    """Sums of bf16 products are not to be added to f32 zeros: a convolution whose features come in the dtype."""
    forward = convolution.forward
    convolution.forward = lambda self, features, cloud: forward(self, features.to(DTYPE), cloud)


# Mini-Diffuser in PyTorch, see torch-mini-diffuser.ts: names MiniDiffuser and make_batch.
MODEL = os.environ.get("MD_TORCH_MINI_DIFFUSER")

if MODEL and os.path.exists(MODEL):

    @op
    def miniDiffuserStep(_, params):
        """Loss, backward pass and AdamW of the full-size model on random scenes; nothing to compare."""
        specification = importlib.util.spec_from_file_location("torch_mini_diffuser", MODEL)
        peer = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(peer)
        torch.manual_seed(0)
        scenes, points, samples = params["scenes"], params["points"], params["samples"]
        on_gpu = DEVICE != "cpu"
        peer.PADDED = on_gpu
        in_dtype(peer.SubMConv3d)
        model = peer.MiniDiffuser().to(DEVICE)
        step = compiled(model, dynamic=True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        batch = peer.make_batch(scenes, points, 512, 0, DEVICE)
        noise, jitter = (torch.randn(rows, 3, device=DEVICE) for rows in (scenes * samples, scenes))
        timesteps = torch.randint(0, 100, (scenes * samples,), device=DEVICE)

        def run():
            with torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16, enabled=DTYPE == torch.bfloat16):
                loss = step(batch, noise, timesteps, jitter)["total"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return []

        return {"": run}
