#!/usr/bin/env python3
"""Times a plain PyTorch loop on a GPU, eager and compiled: what the program is compared with.

    bench_pytorch.py ROOT OUT.json [--batches 20,64] [--only NAME,NAME] [--seconds 480]
                     [--device cpu --small]

ROOT is a checkout: the networks are those of its scripts/bench/reference.py. Per batch it times one
EGSDE step and one SDEdit step: networks, energy and solver, with noise drawn on the device.
Variants: f32 (no TF32 at all), eager (PyTorch's defaults: TF32 in convolutions), bf16, bf16
channels-last, compiled bf16 channels-last. It reports the median of device-event times, the peak
memory and, first, what the card can do. Each result is printed when it is there, and nothing is
begun after --seconds: one long compilation does not lose the rest.
"""
import argparse
import copy
import importlib.util
import json
import math
import os
import sys
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("out")
parser.add_argument("--batches", default="20,64")
parser.add_argument("--only", default="")
parser.add_argument("--seconds", type=float, default=480)
parser.add_argument("--device", default="cuda")
parser.add_argument("--small", action="store_true")
args = parser.parse_args()

STARTED = time.time()
DEVICE = torch.device(args.device)
CUDA = DEVICE.type == "cuda"
VARIANTS = [
    "eager",
    "bf16",
    "bf16 channels-last",
    "compiled bf16 channels-last",
    "f32",
    "bf16 channels-last benchmark",
    "compiled tuned bf16 channels-last",
]


def import_reference():
    path = os.path.join(args.root, "scripts/bench/reference.py")
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    # torch.compile looks a function's module up by its name.
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


reference = import_reference()

SIDE, LOW_PASS_FACTOR = (32, 4) if args.small else (256, 32)
WIDTH, MULTIPLIERS = (32, [1, 2]) if args.small else (128, [1, 1, 2, 2, 4, 4])
SHARED = {
    "image_size": SIDE,
    "channel_mult": MULTIPLIERS,
    "num_head_channels": 32 if args.small else 64,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}
UNET = {
    "kind": "adm_unet",
    "num_channels": WIDTH,
    "num_res_blocks": 1,
    "attention_resolutions": [16],
    "learn_sigma": True,
    **SHARED,
}
DSE = {
    "kind": "dse",
    "classifier_width": WIDTH,
    "classifier_depth": 2,
    "attention_resolutions": [32, 16, 8],
    **SHARED,
}
report = {
    "torch": torch.__version__,
    "device": torch.cuda.get_device_name() if CUDA else "cpu",
    "side": SIDE,
    "results": {},
    "ceilings": {},
}


def wait():
    if CUDA:
        torch.cuda.synchronize()


def time_once(work):
    if not CUDA:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    wait()
    return first.elapsed_time(last) / 1e3


def median_seconds(work, least=3, most=9, budget=12.0):
    """Median seconds of a call, over at most `most` calls or about `budget` seconds."""
    work()
    wait()
    seconds, began = [], time.time()
    while len(seconds) < least or (len(seconds) < most and time.time() - began < budget):
        seconds.append(time_once(work))
    return sorted(seconds)[len(seconds) // 2]


def measure_ceilings():
    """What the card can do: a product, a copy, and a convolution of the networks' first level."""
    found = report["ceilings"]
    n = 512 if args.small else 8192
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    found["bf16 product, TFLOP/s"] = 2 * n**3 / median_seconds(lambda: a @ b) / 1e12
    x = torch.empty((1 << 20) if args.small else (1 << 31), device=DEVICE, dtype=torch.uint8)
    y = torch.empty_like(x)
    seconds = median_seconds(lambda: y.copy_(x))
    found["copy, TB/s read and written"] = 2 * x.numel() / seconds / 1e12
    torch.backends.cudnn.allow_tf32 = False
    for name, kind, layout in [
        ("f32", torch.float32, torch.contiguous_format),
        ("bf16", torch.bfloat16, torch.contiguous_format),
        ("bf16 channels-last", torch.bfloat16, torch.channels_last),
    ]:
        measure_convolution(name, kind, layout)
    for name, value in found.items():
        print(f"{name}: {value:.3g}", flush=True)


def measure_convolution(name, kind, layout):
    channels, side, batch = (32, 32, 2) if args.small else (128, 256, 20)
    x = torch.randn(batch, channels, side, side, device=DEVICE, dtype=kind)
    w = torch.randn(channels, channels, 3, 3, device=DEVICE, dtype=kind)
    x, w = x.contiguous(memory_format=layout), w.contiguous(memory_format=layout)
    with torch.no_grad():
        seconds = median_seconds(lambda: torch.nn.functional.conv2d(x, w, padding=1))
    operations = 2 * 9 * channels * channels * side * side * batch
    label = f"3x3 convolution {channels} channels {side} px {name}, TFLOP/s"
    report["ceilings"][label] = operations / seconds / 1e12


class Net(torch.nn.Module):
    """A network of reference.py in a working precision, its frequencies on its own device."""

    def __init__(self, net, kind):
        super().__init__()
        self.net, self.kind = net.to(kind), kind
        half = net.width // 2
        exponents = -math.log(10000) * torch.arange(half, dtype=torch.float32) / half
        self.register_buffer("freqs", torch.exp(exponents).to(DEVICE), persistent=False)

    def forward(self, x, t):
        net = self.net
        angles = t[:, None].float() * self.freqs[None]
        emb = net.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1).to(self.kind))
        h, skips = x.to(self.kind), []
        for block in net.input_blocks:
            h = block(h, emb)
            skips.append(h)
        h = net.middle_block(h, emb)
        if net.dse:
            return h.float()
        for block in net.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        return net.out(h).float()


class Step:
    """One step of reference.Egsde on the device."""

    def __init__(self, unet, dse):
        self.unet, self.dse = unet, dse
        phi = reference.LowPass(SIDE, LOW_PASS_FACTOR)
        self.phi = (phi.up @ phi.down).to(DEVICE)
        self.betas, self.alphas = reference.schedule()

    def low_pass(self, x):
        return self.phi @ x @ self.phi.T

    def energy(self, y, xt, t):
        faithful = (self.low_pass(y) - self.low_pass(xt)).square().sum()
        realistic = reference.cosine(self.dse(y, t), self.dse(xt, t)).sum()
        return 500.0 * realistic + 2.0 * faithful

    def __call__(self, y, x0, start, i, guided):
        beta, a = float(self.betas[i]), float(self.alphas[i])
        t = torch.full([len(y)], float(i), device=DEVICE)
        with torch.no_grad():
            eps = self.unet(y, t)[:, :3]
        mean = (y - beta / math.sqrt(1 - a) * eps) / math.sqrt(1 - beta)
        if guided:
            xt = math.sqrt(a) * x0 + math.sqrt(1 - a) * start
            z = y.detach().requires_grad_(True)
            gradient = torch.autograd.grad(self.energy(z, xt, t), z)[0]
            mean = mean - beta / math.sqrt(1 - beta) * gradient
        variance = max(beta * (1 - float(self.alphas[i - 1])) / (1 - a), 1e-20)
        return mean + math.sqrt(variance) * torch.randn_like(y)


BUILT = {}


def build(config):
    """A network with its weights by formula, which take seconds for 90 million and are kept."""
    if config["kind"] not in BUILT:
        BUILT[config["kind"]] = reference.build(config)
    return copy.deepcopy(BUILT[config["kind"]])


def build_variant(name):
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = name != "f32"
    torch.backends.cudnn.benchmark = "benchmark" in name
    kind = torch.bfloat16 if "bf16" in name else torch.float32
    nets = [Net(build(config).to(DEVICE), kind) for config in (UNET, DSE)]
    if "channels-last" in name:
        nets = [net.to(memory_format=torch.channels_last) for net in nets]
    if "compiled" in name:
        mode = "max-autotune-no-cudagraphs" if "tuned" in name else None
        nets = [torch.compile(net, mode=mode, dynamic=False) for net in nets]
    return nets


def measure_batch(name, step, batch):
    layout = torch.channels_last if "channels-last" in name else torch.contiguous_format
    shape = [batch, 3, SIDE, SIDE]
    x0 = (reference.uniform("bench.x0", shape) * 0.5).to(DEVICE).contiguous(memory_format=layout)
    start = torch.randn(shape, device=DEVICE).contiguous(memory_format=layout)
    a = float(step.alphas[499])
    y = math.sqrt(a) * x0 + math.sqrt(1 - a) * start
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    found = {}
    try:
        began = time.time()
        found["sdedit_ms"] = 1e3 * median_seconds(lambda: step(y, x0, start, 400, False))
        found["egsde_ms"] = 1e3 * median_seconds(lambda: step(y, x0, start, 400, True))
        found["wall_s"] = time.time() - began
    except Exception as error:  # One variant that fails must not lose the others.
        found["error"] = f"{type(error).__name__}: {error}"[:300]
    if CUDA:
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def save(label, found):
    shown = [f"{k} {v if isinstance(v, str) else round(v, 3)}" for k, v in found.items()]
    print(f"{label}: {', '.join(shown)}", flush=True)
    report["results"][label] = found
    with open(args.out, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)


def is_out_of_time():
    return time.time() - STARTED > args.seconds


def main():
    measure_ceilings()
    for name in args.only.split(",") if args.only else VARIANTS:
        if is_out_of_time():
            print(f"{name}: no time left", flush=True)
            continue
        unet, dse = build_variant(name)
        for batch in map(int, args.batches.split(",")):
            if is_out_of_time():
                break
            save(f"{name}, batch {batch}", measure_batch(name, Step(unet, dse), batch))
        del unet, dse
        if CUDA:
            torch.cuda.empty_cache()
        torch.compiler.reset()


main()
