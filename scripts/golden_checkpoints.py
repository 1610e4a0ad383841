#!/usr/bin/env python3
"""Writes checkpoints as people keep them (crates/models/tests/checkpoints), which
crates/models/tests/kept_checkpoints.rs reads. It needs torch 2.11.0, numpy and safetensors.

    python3 scripts/golden_checkpoints.py

The weights are those by formula (crates/runner/tests/golden/README.md); moving averages are half of
them. PyTorch itself must read the files named in WEIGHTS_ONLY without executing anything.
"""
import argparse
import collections
import datetime
import pathlib
import pickle
import random
import sys
import types

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "crates/models/tests/checkpoints"
sys.path.insert(0, str(ROOT / "scripts/bench"))
from reference import fill_by_formula  # noqa: E402

WEIGHTS_ONLY = [
    "model_and_ema.pt",
    "model_state_dict.pt",
    "generator.ckpt",
    "params_ema.pth",
    "wrapped.pt",
    "one_unusual.pt",
    "two_sets.pt",
    "lightning.ckpt",
    "weights_only.pt",
    "kinds.pt",
    "tied.pt",
    "expanded.pt",
    "parameters.pt",
    "optimizer.pt",
    "nested_legacy.pth",
]
KINDS = {
    "bool": torch.bool,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "uint64": torch.uint64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
}


class Small(nn.Module):
    """Four entries."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.fc = nn.Linear(2, 2)


class Config:
    """An object of a class that only this file has."""

    def __init__(self):
        self.lr = 0.1


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return x * self.weight


def halved(state_dict):
    return {key: value / 2 for key, value in state_dict.items()}


def prefixed(prefix, state_dict):
    return {prefix + key: value for key, value in state_dict.items()}


def optimizer_state():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def with_attribute(tensor):
    tensor.note = "kept"
    return tensor


def what_pytorch_reads():
    """Everything that torch.load(weights_only=True) takes beside weights."""
    ones = torch.ones(3)
    return {
        "set": {1, 2},
        "counter": collections.Counter("aab"),
        "ordered": collections.OrderedDict(a=1),
        "device": torch.device("cuda:0"),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "complex": complex(1, 2),
        "bytes": b"ab\xff",
        "bytearray": bytearray(b"ab\xff"),
        "large": 2**100,
        "nothing": None,
        "flag": True,
        "list": [1, [2.5, ("a",)]],
        "storage": ones.untyped_storage(),
        "sparse": torch.eye(3).to_sparse(),
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "meta": torch.ones(3, device="meta"),
        "conjugated": torch.ones(2, dtype=torch.complex64).conj(),
        "bits": torch.ones(2, dtype=torch.uint8).view(torch.bits8),
        "attribute": with_attribute(torch.ones(2)),
        "rng": torch.arange(5, dtype=torch.uint8),
    }


def what_people_keep():
    """Plain values that PyTorch reads only where it is told to trust the file."""
    return {
        "numpy scalar": numpy.float64(0.5),
        "numpy int": numpy.int64(3),
        "numpy bool": numpy.bool_(True),
        "numpy array": numpy.arange(3),
        "numpy type": numpy.dtype("float32"),
        "numpy rng": numpy.random.RandomState(1),
        "args": argparse.Namespace(lr=1, path=pathlib.PurePosixPath("/a"), names=["x"]),
        "namespace": types.SimpleNamespace(a=1),
        "defaultdict": collections.defaultdict(list, {1: [2]}),
        "deque": collections.deque([1], 3),
        "frozenset": frozenset([1]),
        "range": range(3),
        "slice": slice(1, 2),
        "path": pathlib.PurePosixPath("/a"),
        "date": datetime.datetime(2024, 1, 2),
        "duration": datetime.timedelta(1),
        "rng": random.Random(1).getstate(),
    }


def files():
    small = fill_by_formula(Small())
    weights = small.state_dict()
    average = halved(weights)
    numbers = {name: torch.arange(4).to(kind) for name, kind in KINDS.items()}
    numbers["bool"] = torch.tensor([False, True, True, True])
    tied = weights["fc.weight"]
    view = nn.Parameter(torch.ones(2, 3))
    module = nn.Sequential(nn.Linear(2, 2))
    contents = {
        "model_and_ema.pt": {
            "model": weights,
            "ema": average,
            "optimizer": optimizer_state(),
            "step": 3,
            "best": 0.25,
        },
        "model_state_dict.pt": {"model_state_dict": weights, "loss": 0.1},
        "generator.ckpt": {"generator": weights, "discriminator": average},
        "params_ema.pth": {"params": weights, "params_ema": average},
        "wrapped.pt": {"net": prefixed("module._orig_mod.", weights)},
        "one_unusual.pt": {"my_weights": weights, "epoch": 1},
        "two_sets.pt": {"encoder": weights, "decoder": average, "epoch": 1},
        "lightning.ckpt": {
            "epoch": 2,
            "state_dict": prefixed("model.", weights),
            "hyper_parameters": {"lr": 1e-4},
            "optimizer_states": [optimizer_state()],
        },
        "weights_only.pt": {"state_dict": weights, **what_pytorch_reads()},
        "plain_python.pt": {"state_dict": weights, **what_people_keep()},
        "kinds.pt": numbers,
        "tied.pt": {f"head{i}.weight": tied for i in range(6)},
        "expanded.pt": {"w": torch.ones(1).expand(4, 5), "v": torch.ones(3)},
        "parameters.pt": {
            "fc.weight": with_attribute(nn.Parameter(weights["fc.weight"])),
            "fc.bias": nn.Parameter(weights["fc.bias"]),
            "scalar": torch.tensor(0.5),
            "view": view.data[1:, 1:],
            "empty": torch.ones(0, 3),
        },
        "optimizer.pt": optimizer_state(),
        "whole_module.pt": module,
        "object.pt": {"state_dict": weights, "config": Config()},
    }
    for name, content in contents.items():
        torch.save(content, FOLDER / name)
    torch.save(
        {"model": weights, "epoch": 1},
        FOLDER / "nested_legacy.pth",
        _use_new_zipfile_serialization=False,
    )
    torch.save(
        Tiny(), FOLDER / "whole_module_legacy.pth", _use_new_zipfile_serialization=False
    )
    torch.save({"model": weights, "s": {1}}, FOLDER / "protocol4.pt", pickle_protocol=4)
    torch.jit.save(torch.jit.script(Tiny()), FOLDER / "torchscript.pt")
    with open(FOLDER / "bare.pkl", "wb") as file:
        pickle.dump(weights, file)
    save_file(numbers, FOLDER / "kinds.safetensors")
    save_file({}, FOLDER / "empty.safetensors")


def main():
    files()
    for name in WEIGHTS_ONLY:
        torch.load(FOLDER / name, weights_only=True)


if __name__ == "__main__":
    main()
