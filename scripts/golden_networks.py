#!/usr/bin/env python3
"""Writes golden cases of networks with the less usual flags (crates/runner/tests/golden/flags).

Their numbers are those of the plain PyTorch loop of scripts/bench/reference.py and of the U-Net
below, written from the texts of the papers; no number comes from this project's own networks. It
needs torch 2.11.0, numpy and safetensors.

    python3 scripts/golden_networks.py
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "crates/runner/tests/golden/flags"
sys.path.insert(0, str(ROOT / "scripts/bench"))
from reference import Adm, fill_by_formula, uniform  # noqa: E402

ADM = {
    "kind": "adm_unet",
    "image_size": 16,
    "num_channels": 32,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "attention_resolutions": [16, 8],
    "learn_sigma": False,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
}
DDPM = {
    "kind": "ddpm_unet",
    "image_size": 16,
    "ch": 32,
    "ch_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [8],
}
CASES = {
    "heads_new_order_no_scale_shift": {
        **ADM,
        "num_heads": 4,
        "num_head_channels": -1,
        "num_heads_upsample": -1,
        "use_new_attention_order": True,
        "use_scale_shift_norm": False,
        "learn_sigma": True,
    },
    "heads_legacy_order": {**ADM, "num_heads": 4, "num_res_blocks": 2},
    "heads_upsample": {**ADM, "num_heads": 4, "num_heads_upsample": 8, "resblock_updown": True},
    "head_channels_new_order": {**ADM, "num_head_channels": 16, "use_new_attention_order": True},
    "no_conv_resample": {**ADM, "num_heads": 1, "conv_resample": False},
    "class_cond": {
        **ADM,
        "num_heads": 4,
        "class_cond": True,
        "num_classes": 10,
        "use_scale_shift_norm": False,
        "dropout": 0.1,
        "use_fp16": True,
    },
    "half_width": {**ADM, "num_channels": 64, "channel_mult": [0.5, 1], "num_heads": 2},
    "ddpm_plain_resampling": {**DDPM, "resamp_with_conv": False, "dropout": 0.1},
    "ddpm_conv_resampling": {**DDPM, "resamp_with_conv": True},
}
TIMES = [10.0, 400.0]
LABELS = [3, 9]


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs, emb):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.temb_proj = nn.Linear(emb, outputs)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x))) + self.temb_proj(F.silu(emb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in "qkvo")

    def forward(self, x):
        b, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = (conv(y).reshape(b, c, h * w) for conv in (self.q, self.k, self.v))
        weight = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * c**-0.5, dim=2)
        return x + self.proj_out(torch.einsum("bij,bcj->bci", weight, v).reshape(b, c, h, w))


class Resampling(nn.Module):
    def __init__(self, channels, down, with_conv):
        super().__init__()
        self.down = down
        if with_conv:
            stride, padding = (2, 0) if down else (1, 1)
            self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=padding)

    def forward(self, x):
        if not self.down:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            return self.conv(x) if hasattr(self, "conv") else x
        return self.conv(F.pad(x, (0, 1, 0, 1))) if hasattr(self, "conv") else F.avg_pool2d(x, 2)


class Ddpm(nn.Module):
    """The U-Net of Ho et al. (2020) under the keys of ddim's `Model`."""

    def __init__(self, config):
        super().__init__()
        ch, mults, sides = config["ch"], config["ch_mult"], config["attn_resolutions"]
        self.ch, self.depth, emb = ch, config["num_res_blocks"], 4 * config["ch"]
        with_conv, side = config["resamp_with_conv"], config["image_size"]
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(ch, emb), nn.Linear(emb, emb)])
        self.conv_in = nn.Conv2d(3, ch, 3, padding=1)
        channels, skips, self.down = ch, [ch], nn.ModuleList()
        for i, mult in enumerate(mults):
            level = self.level()
            for _ in range(self.depth):
                self.add(level, channels, ch * mult, emb, side in sides)
                channels = ch * mult
                skips.append(channels)
            if i + 1 < len(mults):
                level.downsample = Resampling(channels, True, with_conv)
                skips.append(channels)
                side //= 2
            self.down.append(level)
        self.mid = nn.Module()
        self.mid.block_1 = ResnetBlock(channels, channels, emb)
        self.mid.attn_1 = AttnBlock(channels)
        self.mid.block_2 = ResnetBlock(channels, channels, emb)
        up = []
        for i, mult in reversed(list(enumerate(mults))):
            level = self.level()
            for _ in range(self.depth + 1):
                self.add(level, channels + skips.pop(), ch * mult, emb, side in sides)
                channels = ch * mult
            if i:
                level.upsample = Resampling(channels, False, with_conv)
                side *= 2
            up.insert(0, level)
        self.up = nn.ModuleList(up)
        self.norm_out = norm(channels)
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)

    @staticmethod
    def level():
        level = nn.Module()
        level.block, level.attn = nn.ModuleList(), nn.ModuleList()
        return level

    @staticmethod
    def add(level, inputs, outputs, emb, has_attention):
        level.block.append(ResnetBlock(inputs, outputs, emb))
        if has_attention:
            level.attn.append(AttnBlock(outputs))

    @staticmethod
    def apply_block(level, i, x, emb):
        h = level.block[i](x, emb)
        return level.attn[i](h) if len(level.attn) else h

    def forward(self, x, t):
        half = self.ch // 2
        freqs = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / (half - 1)))
        args = t[:, None].float() * freqs[None]
        emb = torch.cat([args.sin(), args.cos()], dim=1)
        emb = self.temb.dense[1](F.silu(self.temb.dense[0](emb)))
        kept = [self.conv_in(x)]
        for level in self.down:
            for i in range(self.depth):
                kept.append(self.apply_block(level, i, kept[-1], emb))
            if hasattr(level, "downsample"):
                kept.append(level.downsample(kept[-1]))
        h = self.mid.block_1(kept[-1], emb)
        h = self.mid.block_2(self.mid.attn_1(h), emb)
        for level in reversed(self.up):
            for i in range(self.depth + 1):
                h = self.apply_block(level, i, torch.cat([h, kept.pop()], dim=1), emb)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def build(config):
    return fill_by_formula(Ddpm(config) if config["kind"] == "ddpm_unet" else Adm(config))


def make_case(name, config):
    """Computes a case, writes its tensors and returns its entry."""
    side = config["image_size"]
    x, t = uniform(f"{name}.x", [len(TIMES), 3, side, side]), torch.tensor(TIMES)
    inputs = {
        "x": {"gen": "uniform", "name": f"{name}.x", "shape": list(x.shape)},
        "t": {"tensor": "t"},
    }
    tensors, arguments = {"t": t}, [x, t]
    if config.get("class_cond"):
        labels = torch.tensor(LABELS)
        inputs["y"], tensors["y"] = {"tensor": "y"}, labels
        arguments.append(labels)
    with torch.no_grad():
        tensors["out"] = build(config)(*arguments).contiguous()
    save_file(tensors, FOLDER / f"{name}.safetensors")
    return {
        "case": name,
        "op": "network_forward",
        "file": f"{name}.safetensors",
        "network": {**config, "weights": "synthetic"},
        "inputs": inputs,
        "expected": {"out": {"tensor": "out", "stride": 1, "rel_tol": 1e-4}},
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    cases = [make_case(name, config) for name, config in CASES.items()]
    document = {"format": "egsde-parity/1", "cases": cases}
    (FOLDER / "cases.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
