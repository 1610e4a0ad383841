"""EGSDE, SDEdit and ILVR as a plain PyTorch loop in the reference's manner, written from the text
of the protocol.

It runs one batch at a time, in eager mode or another variant. The noise is predicted
without gradients; the energy's gradient comes by autograd through both experts, whose parameters
require gradients. `python reference.py check GOLDEN` compares it with the golden cases, and
`python reference.py worker ...` times steps for `just bench-vs-reference`. It needs torch 2.11.0,
numpy and safetensors.
"""
import argparse
import json
import math
import os
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

M64 = (1 << 64) - 1


def fnv(text):
    """64-bit FNV-1a."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & M64
    return h


def uniform(name, shape):
    """The golden cases' numbers by formula, in [-1, 1)."""
    n = int(np.prod(shape)) if len(shape) else 1
    with np.errstate(over="ignore"):
        z = np.uint64(fnv(name)) + np.arange(n, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    values = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return torch.from_numpy(values.reshape(shape))


def gaussian(name, shape):
    """The golden cases' numbers by formula, of mean 0 and variance 1."""
    parts = uniform(name, [int(np.prod(shape)), 4]).double().sum(1) * (math.sqrt(3) / 2)
    return parts.float().reshape(shape)


def fill_by_formula(module):
    """Sets all weights to the golden cases' numbers by formula; returns the module."""
    state = {}
    for key, old in module.state_dict().items():
        shape = list(old.shape)
        u = uniform(key, shape)
        if len(shape) == 1 and key.endswith("weight"):
            state[key] = 1 + 0.1 * u
        elif len(shape) < 2:
            state[key] = 0.1 * u
        else:
            state[key] = math.sqrt(3 / int(np.prod(shape[1:]))) * u
    module.load_state_dict(state)
    return module.eval()


def norm(channels):
    return nn.GroupNorm(32, channels)


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def resample(kind, x):
    """Halves ("down") or doubles ("up") the sides of x, or leaves them."""
    if kind == "down":
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=2, mode="nearest") if kind == "up" else x


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs, emb, kind=None, scale_shift=True):
        super().__init__()
        self.kind, self.scale_shift = kind, scale_shift
        self.in_layers = nn.Sequential(norm(inputs), nn.SiLU(), conv(inputs, outputs))
        emb_outputs = 2 * outputs if scale_shift else outputs
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, emb_outputs))
        self.out_layers = nn.Sequential(
            norm(outputs), nn.SiLU(), nn.Dropout(0.0), conv(outputs, outputs)
        )
        same = inputs == outputs
        self.skip_connection = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, emb):
        h = self.in_layers[2](resample(self.kind, self.in_layers[1](self.in_layers[0](x))))
        x = resample(self.kind, x)
        e = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
        else:
            h = self.out_layers[0](h + e)
        h = self.out_layers[3](self.out_layers[2](self.out_layers[1](h)))
        return self.skip_connection(x) + h


def attend(q, k, v):
    scale = q.shape[1] ** -0.25
    weight = torch.softmax(torch.einsum("bct,bcs->bts", q * scale, k * scale), dim=-1)
    return torch.einsum("bts,bcs->bct", weight, v)


class Attention(nn.Module):
    """guided-diffusion's AttentionBlock. Its two orders: queries, keys and values are split within
    each head ("legacy"), or before the heads ("new")."""

    def __init__(self, channels, heads, new_order=False):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        b, c, *spatial = x.shape
        flat = x.reshape(b, c, -1)
        qkv = self.qkv(self.norm(flat))
        if self.new_order:
            parts = [p.reshape(b * self.heads, c // self.heads, -1) for p in qkv.chunk(3, dim=1)]
        else:
            parts = qkv.reshape(b * self.heads, 3 * c // self.heads, -1).chunk(3, dim=1)
        a = attend(*parts).reshape(b, c, -1)
        return (flat + self.proj_out(a)).reshape(b, c, *spatial)


class Resample(nn.Module):
    """Halves or doubles without a residual block: a convolution with stride 2, or one behind a
    repetition; without convolutions the mean of 2x2 pixels, or the repetition alone."""

    def __init__(self, channels, kind, with_conv):
        super().__init__()
        self.kind = kind
        if with_conv and kind == "down":
            self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        elif with_conv:
            self.conv = conv(channels, channels)

    def forward(self, x):
        if hasattr(self, "op"):
            return self.op(x)
        x = resample(self.kind, x)
        return self.conv(x) if hasattr(self, "conv") else x


class Block(nn.Sequential):
    def forward(self, x, emb):
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class Adm(nn.Module):
    """A U-Net or, as a `dse`, its downward half and middle, whose output is the feature map; the
    head of the classifier is not needed here. Flags are guided-diffusion's, with the defaults of
    its scripts."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.dse = config["kind"] == "dse"
        width = config["classifier_width"] if self.dse else config["num_channels"]
        depth = config["classifier_depth"] if self.dse else config["num_res_blocks"]
        mults, sides = config["channel_mult"], config["attention_resolutions"]
        self.width, self.emb = width, 4 * width
        emb = self.emb
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        if config.get("class_cond"):
            self.label_emb = nn.Embedding(config.get("num_classes", 1000), emb)
        channels, side = int(width * mults[0]), config["image_size"]
        inputs, skips = [Block(conv(3, channels))], [channels]
        for level, mult in enumerate(mults):
            for _ in range(depth):
                layers = [self.res_block(channels, int(mult * width))]
                channels = int(mult * width)
                layers += [self.attention(channels)] if side in sides else []
                inputs.append(Block(*layers))
                skips.append(channels)
            if level + 1 < len(mults):
                inputs.append(Block(self.resampling(channels, "down")))
                skips.append(channels)
                side //= 2
        self.input_blocks = nn.ModuleList(inputs)
        self.middle_block = Block(
            self.res_block(channels, channels),
            self.attention(channels),
            self.res_block(channels, channels),
        )
        if self.dse:
            return
        outputs = []
        for level, mult in reversed(list(enumerate(mults))):
            for i in range(depth + 1):
                layers = [self.res_block(channels + skips.pop(), int(mult * width))]
                channels = int(mult * width)
                layers += [self.attention(channels, upward=True)] if side in sides else []
                if level and i == depth:
                    layers.append(self.resampling(channels, "up"))
                    side *= 2
                outputs.append(Block(*layers))
        self.output_blocks = nn.ModuleList(outputs)
        out_channels = 6 if config.get("learn_sigma") else 3
        self.out = nn.Sequential(norm(channels), nn.SiLU(), conv(channels, out_channels))

    def res_block(self, inputs, outputs, kind=None):
        scale_shift = self.config.get("use_scale_shift_norm", True)
        return ResBlock(inputs, outputs, self.emb, kind, scale_shift)

    def resampling(self, channels, kind):
        if self.config.get("resblock_updown", False):
            return self.res_block(channels, channels, kind)
        return Resample(channels, kind, self.config.get("conv_resample", True))

    def attention(self, channels, upward=False):
        per_head = self.config.get("num_head_channels", -1)
        heads = self.config.get("num_heads", 4)
        upsample = self.config.get("num_heads_upsample", -1)
        if per_head != -1:
            heads = channels // per_head
        elif upward and upsample != -1:
            heads = upsample
        return Attention(channels, heads, self.config.get("use_new_attention_order", False))

    def forward(self, x, t, y=None):
        half = self.width // 2
        freqs = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        args = t[:, None].float() * freqs[None]
        kind = self.time_embed[0].weight.dtype
        emb = self.time_embed(torch.cat([args.cos(), args.sin()], dim=-1).to(kind))
        if y is not None:
            emb = emb + self.label_emb(y)
        h, kept = x.to(kind), []
        for block in self.input_blocks:
            h = block(h, emb)
            kept.append(h)
        h = self.middle_block(h, emb)
        if self.dse:
            return h.float()
        for block in self.output_blocks:
            h = block(torch.cat([h, kept.pop()], dim=1), emb)
        return self.out(h).float()


def linear_kernel(x):
    return max(0.0, 1 - abs(x))


def cubic_kernel(x):
    x = abs(x)
    if x <= 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((2.5 - 0.5 * x) * x - 4) * x + 2 if x <= 2 else 0.0


def axis(inputs, outputs, cubic):
    """[outputs, inputs] weights of one axis: linear or cubic, widened when shrinking, with mirrored
    borders; rows sum to 1."""
    scale = outputs / inputs
    sharp, rows = min(scale, 1.0), torch.zeros(outputs, inputs, dtype=torch.float64)
    kernel = cubic_kernel if cubic else linear_kernel
    reach = math.ceil((2 if cubic else 1) / sharp) + 1
    for o in range(outputs):
        center = (o + 0.5) / scale - 0.5
        for j in range(math.floor(center) - reach, math.floor(center) + reach + 2):
            folded = j % (2 * inputs)
            mirrored = folded if folded < inputs else 2 * inputs - 1 - folded
            rows[o, mirrored] += kernel((center - j) * sharp)
    return (rows / rows.sum(1, keepdim=True)).float()


class LowPass:
    """Shrinks by a factor and enlarges back."""

    def __init__(self, side, factor, cubic=False):
        self.down = axis(side, side // factor, cubic)
        self.up = axis(side // factor, side, cubic)

    def __call__(self, x):
        small = self.down @ x @ self.down.T
        return self.up @ small @ self.up.T


def schedule():
    """Betas and cumulative alphas of DDPM."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    return betas, torch.cumprod(1 - betas, 0)


def unit(features):
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def cosine(a, b):
    return (unit(a) * unit(b)).sum(1).mean((1, 2))


class Egsde:
    """VP-EGSDE; SDEdit when both weights are 0."""

    def __init__(self, unet, dse, phi, lambda_s, lambda_i):
        self.unet, self.dse, self.phi = unet, dse, phi
        self.lambda_s, self.lambda_i = lambda_s, lambda_i
        self.betas, self.alphas = schedule()

    def gradient(self, y, xt, t):
        y = y.detach().requires_grad_(True)
        energy = torch.zeros(())
        if self.lambda_s:
            energy = energy + self.lambda_s * cosine(self.dse(y, t), self.dse(xt, t)).sum()
        if self.lambda_i:
            energy = energy + self.lambda_i * (self.phi(y) - self.phi(xt)).square().sum()
        return torch.autograd.grad(energy, y)[0]

    def step(self, y, x0, start, i, noise):
        beta, a = float(self.betas[i]), float(self.alphas[i])
        t = torch.full([len(y)], float(i))
        with torch.no_grad():
            eps = self.unet(y, t)[:, :3]
        mean = (y - beta / math.sqrt(1 - a) * eps) / math.sqrt(1 - beta)
        if self.lambda_s or self.lambda_i:
            xt = math.sqrt(a) * x0 + math.sqrt(1 - a) * start
            mean = mean - beta / math.sqrt(1 - beta) * self.gradient(y, xt, t)
        a_prev = float(self.alphas[i - 1]) if i else 1.0
        variance = max(beta * (1 - a_prev) / (1 - a), 1e-20)
        return mean if i == 0 else mean + math.sqrt(variance) * noise(i)

    def run(self, x0, start, steps, noise, observe=lambda i, y: None):
        a = float(self.alphas[steps - 1])
        y = math.sqrt(a) * x0 + math.sqrt(1 - a) * start
        for i in reversed(range(steps)):
            y = self.step(y, x0, start, i, noise)
            observe(i, y)
        return y


class Ilvr:
    """The last steps of all, low frequencies replaced down to step 1; fixed small variance."""

    def __init__(self, unet, phi):
        self.unet, self.phi = unet, phi
        self.betas, self.alphas = schedule()

    def ancestral_step(self, y, i, noise):
        beta, a = float(self.betas[i]), float(self.alphas[i])
        a_prev = float(self.alphas[i - 1]) if i else 1.0
        with torch.no_grad():
            eps = self.unet(y, torch.full([len(y)], float(i)))[:, :3]
        image = ((y - math.sqrt(1 - a) * eps) / math.sqrt(a)).clamp(-1, 1)
        mean = beta * math.sqrt(a_prev) / (1 - a) * image
        mean = mean + (1 - a_prev) * math.sqrt(1 - beta) / (1 - a) * y
        std = math.sqrt(max(beta * (1 - a_prev) / (1 - a), 1e-20))
        return mean + std * noise(i) if i else mean

    def run(self, x0, start, steps, noise):
        y = start
        for i in reversed(range(steps)):
            y = self.ancestral_step(y, i, noise)
            if i:
                a = float(self.alphas[i])
                source = math.sqrt(a) * x0 + math.sqrt(1 - a) * noise(i)
                y = y + self.phi(source) - self.phi(y)
        return y


def build(config):
    """A network with weights by formula."""
    return fill_by_formula(Adm(config))


def read_json(path):
    with open(path) as file:
        return json.load(file)


class GoldenCase:
    """One golden case, and how far results lie from it."""

    def __init__(self, folder, name):
        from safetensors.torch import load_file

        cases = read_json(os.path.join(folder, "cases.json"))["cases"]
        self.case = next(case for case in cases if case["case"] == name)
        self.tensors = load_file(os.path.join(folder, self.case["file"]))
        self.name = name
        self.within_tolerance = True

    def compare(self, got, key):
        """Prints the relative error of one result and its tolerance."""
        want, expected = self.tensors[key], self.case["expected"][key]
        if got.dim() == 4:
            stride = expected.get("stride", 1)
            got = got[..., ::stride, ::stride]
        error = float((got - want).abs().max() / want.abs().max())
        self.within_tolerance &= error <= expected["rel_tol"]
        print(f"{self.name} {key}: error {error:.2e} of {expected['rel_tol']:.0e}")


def check_network(folder):
    golden = GoldenCase(folder, "adm_unet_32")
    network = build(golden.case["network"])
    x = uniform("adm_unet_32.x", [2, 3, 32, 32])
    with torch.no_grad():
        golden.compare(network(x, golden.tensors["t"]), "out")
    return golden.within_tolerance


def check_egsde(folder):
    golden = GoldenCase(folder, "egsde_cosine_negl2")
    case, name, shape = golden.case, golden.name, [2, 3, 64, 64]
    method = Egsde(
        build(case["diffusion"]),
        build(case["dse"]),
        LowPass(64, case["low_pass_factor"]),
        case["lambda_s"],
        case["lambda_i"],
    )
    samples = []
    y = method.run(
        uniform(f"{name}.x0", shape) * 0.5,
        gaussian(f"{name}.e0", shape),
        20,
        lambda i: gaussian(f"{name}.z0.{i}", shape),
        lambda i, y: samples.append(y),
    )
    golden.compare(samples[0], "after_first_step.0")
    golden.compare(y, "y.0")
    return golden.within_tolerance


def check(args):
    results = [check_network(args.golden), check_egsde(args.golden)]
    sys.exit(0 if all(results) else 1)


def in_variant(net, variant):
    """The network as a user can have it in a few words. The variant's words: eager, bf16,
    channels-last, compiled."""
    if "bf16" in variant:
        net = net.to(torch.bfloat16)
    if "channels-last" in variant:
        net = net.to(memory_format=torch.channels_last)
    return torch.compile(net, dynamic=False) if "compiled" in variant else net


def build_method(args):
    unet = in_variant(build(read_json(args.diffusion)), args.variant)
    if args.method == "ilvr":
        return Ilvr(unet, LowPass(args.size, args.size // 8, cubic=True))
    low_pass = LowPass(args.size, args.size // 8)
    if args.method == "egsde":
        extractor = in_variant(build(read_json(args.extractor)), args.variant)
        return Egsde(unet, extractor, low_pass, 20.0, 0.3)
    return Egsde(unet, None, low_pass, 0.0, 0.0)


def worker(args):
    """Runs `steps` steps of one batch per line of input, and prints their seconds and the largest
    memory so far in KiB."""
    torch.set_num_threads(args.threads)
    shape = [args.batch, 3, args.size, args.size]
    is_last = "channels-last" in args.variant
    layout = torch.channels_last if is_last else torch.contiguous_format
    x0 = (uniform("bench.x0", shape) * 0.5).contiguous(memory_format=layout)
    method = build_method(args)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        method.run(x0, torch.randn(shape), args.steps, lambda i: torch.randn(shape))
        seconds = time.perf_counter() - began
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{seconds:.6f} {kib}", flush=True)


def best_rate(work, amount, times=5):
    """Amount per second of the fastest of some runs."""
    work()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return amount / min(seconds)


def count_flops(work):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def ceilings(args):
    """Prints what this machine can do in float32, and the work of one step, as JSON."""
    torch.set_num_threads(args.threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    x, w = torch.randn(16, 128, 64, 64), torch.randn(128, 128, 3, 3)
    flops_of_convolution = 2 * 16 * 128 * 128 * 9 * 64 * 64
    big, other = torch.empty(1 << 26), torch.empty(1 << 26)
    with torch.no_grad():
        found = {
            "matmul": best_rate(lambda: a @ b, 2 * 2048**3),
            "convolution": best_rate(lambda: F.conv2d(x, w, padding=1), flops_of_convolution),
            "copy": best_rate(lambda: other.copy_(big), 4 * 2 * (1 << 26)),
        }
    unet, dse = Adm(read_json(args.diffusion)), Adm(read_json(args.extractor))
    y, t = torch.randn(1, 3, args.size, args.size), torch.zeros(1)
    with torch.no_grad():
        found["diffusion"] = count_flops(lambda: unet(y, t))
    dse.requires_grad_(False)
    y.requires_grad_(True)
    found["extractor"] = count_flops(
        lambda: cosine(dse(y, t), dse(y.detach(), t)).sum().backward()
    )
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check")
    command.add_argument("golden")
    command.set_defaults(run=check)
    command = commands.add_parser("ceilings")
    command.set_defaults(run=ceilings)
    add_arguments(command, ["diffusion", "extractor"], ["size", "threads"])
    command = commands.add_parser("worker")
    command.set_defaults(run=worker)
    texts, numbers = ["method", "diffusion", "extractor"], ["size", "batch", "steps", "threads"]
    add_arguments(command, texts, numbers)
    command.add_argument("--variant", default="eager")
    args = parser.parse_args()
    args.run(args)


def add_arguments(parser, texts, numbers):
    for name in texts:
        parser.add_argument(f"--{name}", required=True)
    for name in numbers:
        parser.add_argument(f"--{name}", type=int, required=True)


if __name__ == "__main__":
    main()
