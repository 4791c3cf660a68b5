# SPDX-License-Identifier: Apache-2.0
"""Whole networks, written out in plain PyTorch: what check_networks.py exports.

Random weights with a fixed seed, but for the sentence encoder, whose real weights come
from a package (see check_networks.py).
"""

import json
import pathlib
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """The basic block of ResNet-18 and -34, or the bottleneck of ResNet-50."""

    def __init__(self, inner, outer, stride, narrow):
        super().__init__()
        wide = 4 * outer if narrow else outer
        sizes = [(inner, outer, 1, 1), (outer, outer, 3, stride), (outer, wide, 1, 1)]
        if not narrow:
            sizes = [(inner, outer, 3, stride), (outer, outer, 3, 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, k, s, k // 2, bias=False) for i, o, k, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _, _ in sizes)
        self.short = None
        if stride != 1 or inner != wide:
            self.short = nn.Sequential(nn.Conv2d(inner, wide, 1, stride, bias=False),
                                       nn.BatchNorm2d(wide))

    def forward(self, x):
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            y = norm(conv(y))
            y = F.relu(y) if i + 1 < len(self.convs) else y
        return F.relu(y + (x if self.short is None else self.short(x)))


class ResNet(nn.Module):
    def __init__(self, depths=(3, 4, 6, 3), narrow=True, width=64, classes=1000):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False),
                                  nn.BatchNorm2d(width), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        layers, inner = [], width
        for i, depth in enumerate(depths):
            outer = width << i
            for k in range(depth):
                layers.append(Residual(inner, outer, 2 if i and not k else 1, narrow))
                inner = 4 * outer if narrow else outer
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(inner, classes)

    def forward(self, image):
        return self.head(self.layers(self.stem(image)).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, size, heads, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.out = nn.Linear(size, size)

    def forward(self, x, mask=None):
        batch, length, size = x.shape
        q, k, v = (part(x).view(batch, length, self.heads, -1).transpose(1, 2)
                   for part in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(batch, length, size))


class Block(nn.Module):
    def __init__(self, size, heads, inner, before=True, causal=False, epsilon=1e-5):
        super().__init__()
        self.before = before
        self.attention = Attention(size, heads, causal)
        self.norm1 = nn.LayerNorm(size, epsilon)
        self.up = nn.Linear(size, inner)
        self.down = nn.Linear(inner, size)
        self.norm2 = nn.LayerNorm(size, epsilon)

    def forward(self, x, mask=None):
        if self.before:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.down(F.gelu(self.up(self.norm2(x))))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Token ids and a padding mask to one vector for each token; `pooled`: to one unit
    vector for each text, as sentence encoders give."""

    def __init__(self, words=30522, size=768, layers=12, heads=12, inner=3072,
                 places=512, pooled=False):
        super().__init__()
        self.pooled = pooled
        self.words = nn.Embedding(words, size)
        self.places = nn.Embedding(places, size)
        self.kinds = nn.Embedding(2, size)
        self.norm = nn.LayerNorm(size, 1e-12)
        self.layers = nn.ModuleList(Block(size, heads, inner, False, epsilon=1e-12)
                                    for _ in range(layers))

    def forward(self, tokens, mask):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.words(tokens) + self.places(places) + self.kinds.weight[0]
        x = self.norm(x)
        hidden = (1 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for layer in self.layers:
            x = layer(x, hidden)
        if not self.pooled:
            return x
        part = mask[:, :, None].float()
        mean = (x * part).sum(1) / part.sum(1).clamp(min=1e-9)
        return F.normalize(mean, dim=1)


class Gpt(nn.Module):
    def __init__(self, words=50257, size=768, layers=12, heads=12, places=1024):
        super().__init__()
        self.words = nn.Embedding(words, size)
        self.places = nn.Embedding(places, size)
        self.layers = nn.ModuleList(Block(size, heads, 4 * size, causal=True)
                                    for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.words(tokens) + self.places(places)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) @ self.words.weight.T


class WhisperEncoder(nn.Module):
    def __init__(self, mels=80, size=512, layers=6, heads=8, frames=1500):
        super().__init__()
        self.first = nn.Conv1d(mels, size, 3, padding=1)
        self.second = nn.Conv1d(size, size, 3, stride=2, padding=1)
        self.places = nn.Parameter(torch.randn(frames, size) * 0.02)
        self.layers = nn.ModuleList(Block(size, heads, 4 * size) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, sound):
        x = F.gelu(self.second(F.gelu(self.first(sound)))).transpose(1, 2)
        x = x + self.places[:x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def read_safetensors(path):
    data = np.memmap(path, np.uint8, "r")
    length = struct.unpack("<Q", data[:8].tobytes())[0]
    head = json.loads(data[8:8 + length].tobytes())
    tensors = {}
    for name, entry in head.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            values = np.frombuffer(data[begin:end].tobytes(), np.float32)
            tensors[name] = torch.tensor(values.reshape(entry["shape"]))
    return tensors


def sentence_encoder(folder):
    """all-MiniLM-L6-v2 with the weights of `folder`/model.safetensors."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    model = Bert(config["vocab_size"], config["hidden_size"],
                 config["num_hidden_layers"], config["num_attention_heads"],
                 config["intermediate_size"], config["max_position_embeddings"], True)
    names = {
        "words": "embeddings.word_embeddings",
        "places": "embeddings.position_embeddings",
        "kinds": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    parts = {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for i in range(config["num_hidden_layers"]):
        for ours, theirs in parts.items():
            names[f"layers.{i}.{ours}"] = f"encoder.layer.{i}.{theirs}"
    tensors = read_safetensors(folder / "model.safetensors")
    state = {}
    for key in model.state_dict():
        part, kind = key.rsplit(".", 1)
        state[key] = tensors[f"{names[part]}.{kind}"]
    model.load_state_dict(state)
    return model


def tokens_of(words, batch, length):
    return torch.randint(1, words, (batch, length))


def masked(words, batch, length):
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[-1, length // 2:] = 0
    return tokens_of(words, batch, length), mask


# Name: how to make it, inputs of one request, and the dimensions that may vary.
NETWORKS = {
    "resnet50": (lambda: ResNet(), lambda: (torch.randn(1, 3, 224, 224),),
                 [{0: "batch"}]),
    "resnet18": (lambda: ResNet((2, 2, 2, 2), False),
                 lambda: (torch.randn(1, 3, 224, 224),), [{0: "batch"}]),
    "bert": (lambda: Bert(), lambda: masked(30522, 2, 64),
             [{0: "batch", 1: "length"}] * 2),
    "gpt": (lambda: Gpt(), lambda: (tokens_of(50257, 1, 64),),
            [{0: "batch", 1: "length"}]),
    "whisper": (lambda: WhisperEncoder(), lambda: (torch.randn(1, 80, 3000),),
                [{0: "batch"}]),
    "minilm": (None, lambda: masked(30522, 4, 32), [{0: "batch", 1: "length"}] * 2),
}
