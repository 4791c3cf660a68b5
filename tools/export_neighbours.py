# SPDX-License-Identifier: Apache-2.0
"""Small models near the acceptance rows: what users bring next."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from export_rows import BATCH, Row, maker, numbers, seeded, x_cases


class ResBlock(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(b)
        self.skip = nn.Sequential(nn.Conv2d(a, b, 1, stride=stride, bias=False),
                                  nn.BatchNorm2d(b))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False),
                                  nn.BatchNorm2d(8), nn.ReLU(),
                                  nn.MaxPool2d(3, stride=2, padding=1))
        self.block1 = ResBlock(8, 8, 1)
        self.block2 = ResBlock(8, 16, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 10)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.normal_(module.running_mean, std=0.3)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)

    def forward(self, x):
        x = self.block2(self.block1(self.stem(x)))
        return self.head(torch.flatten(self.pool(x), 1))


@maker
def n_resnet(full):
    return Row("n_resnet", "a small residual network with batch norms and pooling",
               seeded(ResNet), x_cases((2, 3, 40, 40), (1, 3, 40, 40)), dynamic={"x": BATCH})


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.depth = nn.Conv2d(16, 16, 5, padding=4, dilation=2, groups=16)
        self.grouped = nn.Conv2d(16, 24, (3, 1), stride=(2, 1), padding=(1, 0), groups=4)
        self.point = nn.Conv2d(24, 12, 1)
        self.pool = nn.AvgPool2d(2, padding=1, count_include_pad=False)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        x = F.relu6(self.depth(x))
        x = F.leaky_relu(self.grouped(x), 0.1)
        x = F.silu(self.pool(self.point(x)))
        return F.log_softmax(x.mean((2, 3)), dim=1)


@maker
def n_depthwise(full):
    return Row("n_depthwise", "depthwise, grouped and dilated convolutions",
               seeded(Depthwise), x_cases((2, 3, 33, 30), (1, 3, 33, 30)),
               dynamic={"x": BATCH})


class GptBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def forward(self, x):
        b, s, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(d, dim=2)
        q, k, v = (t.view(b, s, self.heads, d // self.heads).transpose(1, 2) for t in (q, k, v))
        y = self.attend(q, k, v).transpose(1, 2).reshape(b, s, d)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GptExplicit(GptBlock):
    """The mask written out, as many repositories have it."""

    def __init__(self, d, heads):
        super().__init__(d, heads)
        self.register_buffer("mask", torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64))

    def attend(self, q, k, v):
        s = q.size(-2)
        scores = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, :s, :s] == 0, float("-inf"))
        return F.softmax(scores, dim=-1) @ v


class Gpt(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.tokens, self.places = nn.Embedding(50, 32), nn.Embedding(64, 32)
        self.blocks = nn.ModuleList([block(32, 4), block(32, 4)])
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 50, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places(torch.arange(tokens.size(1)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def token_cases(*shapes):
    generator = np.random.default_rng(5)
    return [{"tokens": generator.integers(0, 50, shape).astype(np.int64)} for shape in shapes]


@maker
def n_gpt(full):
    return Row("n_gpt", "two causal blocks over tokens, scaled_dot_product_attention",
               seeded(lambda: Gpt(GptBlock)), token_cases((2, 12), (1, 5)), outputs=("logits",),
               dynamic={"tokens": {0: "batch", 1: "length"}})


@maker
def n_gpt_static(full):
    return Row("n_gpt_static", "the same at one size", seeded(lambda: Gpt(GptBlock)),
               token_cases((2, 12)), outputs=("logits",), exporters=("dynamo", "script17"))


@maker
def n_gpt_explicit(full):
    return Row("n_gpt_explicit", "two causal blocks, mask and softmax written out",
               seeded(lambda: Gpt(GptExplicit)), token_cases((2, 12), (1, 5)),
               exporters=("dynamo", "script17"),
               outputs=("logits",), dynamic={"tokens": {0: "batch", 1: "length"}})


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(60, 32), nn.Embedding(32, 32)
        self.kinds = nn.Embedding(2, 32)
        self.norm = nn.LayerNorm(32, eps=1e-12)
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True,
                                           norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.pooler = nn.Linear(32, 32)

    def forward(self, tokens, mask):
        places = torch.arange(tokens.size(1)).unsqueeze(0)
        x = self.words(tokens) + self.places(places) + self.kinds(torch.zeros_like(tokens))
        x = self.encoder(self.norm(x), src_key_padding_mask=mask == 0)
        return x, torch.tanh(self.pooler(x[:, 0]))


def bert_case(seed, lengths, size):
    tokens = np.random.default_rng(seed).integers(0, 60, (len(lengths), size)).astype(np.int64)
    mask = np.stack([(np.arange(size) < n).astype(np.int64) for n in lengths])
    return {"tokens": tokens, "mask": mask}


@maker
def n_bert(full):
    return Row("n_bert", "two pre-norm layers with a padding mask", seeded(Bert),
               [bert_case(1, (10, 7), 10), bert_case(2, (4, 9, 6), 9)],
               outputs=("hidden", "pooled"), script_fixed=True,
               dynamic={"tokens": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}})


class BertOld(nn.Module):
    """Attention in the way of the older libraries: an additive mask, no fused call."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(60, 32)
        self.query, self.key, self.value = (nn.Linear(32, 32) for _ in range(3))
        self.out = nn.Linear(32, 32)
        self.norm = nn.LayerNorm(32)

    def split(self, x):
        return x.view(x.size(0), x.size(1), 4, 8).permute(0, 2, 1, 3)

    def forward(self, tokens, mask):
        x = self.words(tokens)
        extended = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(8) + extended
        y = torch.matmul(torch.softmax(scores, -1), v).permute(0, 2, 1, 3).contiguous()
        return self.norm(self.out(y.view(x.size(0), x.size(1), 32)) + x)


@maker
def n_bert_old(full):
    return Row("n_bert_old", "attention with an additive mask", seeded(BertOld),
               [bert_case(1, (10, 7), 10), bert_case(2, (4, 9, 6), 9)],
               dynamic={"tokens": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}})


class RmsBlock(nn.Module):
    """RMS norm, rotary positions, gated feed-forward, grouped keys and values."""

    def __init__(self):
        super().__init__()
        self.scale1, self.scale2 = (nn.Parameter(1 + 0.1 * torch.randn(32)) for _ in range(2))
        self.q, self.k = nn.Linear(32, 32, bias=False), nn.Linear(32, 16, bias=False)
        self.v, self.o = nn.Linear(32, 16, bias=False), nn.Linear(32, 32, bias=False)
        self.gate, self.up = nn.Linear(32, 80, bias=False), nn.Linear(32, 80, bias=False)
        self.down = nn.Linear(80, 32, bias=False)

    def norm(self, x, scale):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * scale

    def rotate(self, x, angles):
        a, b = x.chunk(2, dim=-1)
        turned = torch.cat((-b, a), dim=-1)
        return x * angles.cos() + turned * angles.sin()

    def forward(self, x):
        b, s, _ = x.shape
        steps = torch.arange(s, dtype=torch.float32)
        rates = 10000.0 ** (-torch.arange(0, 8, 2, dtype=torch.float32) / 8)
        angles = torch.outer(steps, rates).repeat(1, 2)
        h = self.norm(x, self.scale1)
        q = self.rotate(self.q(h).view(b, s, 4, 8).transpose(1, 2), angles)
        k = self.rotate(self.k(h).view(b, s, 2, 8).transpose(1, 2), angles)
        v = self.v(h).view(b, s, 2, 8).transpose(1, 2)
        k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(8)
        scores = scores + torch.full((s, s), float("-inf")).triu(1)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, s, 32)
        x = x + self.o(y)
        h = self.norm(x, self.scale2)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


@maker
def n_llama(full):
    return Row("n_llama", "RMS norm, rotary positions, gated feed-forward",
               seeded(RmsBlock), x_cases((2, 9, 32)), unsupported={"script17": "Einsum"})


class Elementwise(nn.Module):
    """One of each simple operator."""

    def forward(self, a, b):
        p = a.abs() + 0.5
        r = torch.where(a > b, a * 2 - b, torch.minimum(a, b) / p)
        r = r + torch.sqrt(p) + p.reciprocal() + p.pow(1.5) + torch.log(p) + torch.erf(a)
        r = r + torch.exp(-p) + torch.tanh(a) * torch.sigmoid(b) + F.leaky_relu(a, 0.2)
        r = r + a.clamp(-0.5, 0.75) + torch.maximum(a, b).neg()
        keep = torch.logical_and(a < 1, torch.logical_not(torch.eq(b, b.round())))
        return r * keep.to(torch.float32), r.sum(-1), r.amax(0), r.mean((0, 1))


@maker
def n_elementwise(full):
    case = {"a": numbers(1, 5, 7, 19), "b": numbers(2, 7, 1)}
    return Row("n_elementwise", "simple operators with broadcasting", Elementwise(), [case],
               outputs=("y", "sum", "max", "mean"))


class Shapes(nn.Module):
    """One of each operator that moves data."""

    def forward(self, x):
        a, b, c = x.split([2, 3, 4], dim=1)
        y = torch.cat((c[:, ::2], b[:, 1:], a.flip(1)), dim=1)
        y = F.pad(y, (1, 2), value=0.5)
        y = y.permute(2, 0, 1).unsqueeze(1).expand(-1, 3, -1, -1).flatten(1)
        z = x[:, -1].index_select(1, torch.tensor([3, 0, 2]))
        n = torch.arange(x.size(0)).to(torch.float32).view(-1, 1, 1)
        return y, z, x * n, F.pad(x, (2, 1), mode="reflect")


@maker
def n_shapes(full):
    return Row("n_shapes", "operators that move data", Shapes(),
               x_cases((3, 9, 6), (2, 9, 6)), outputs=("y", "z", "scaled", "padded"),
               dynamic={"x": BATCH})
