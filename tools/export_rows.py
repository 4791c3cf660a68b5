# SPDX-License-Identifier: Apache-2.0
"""The rows that export_models.py exports: the acceptance tables and neighbours."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ALL = ("dynamo", "dynamo23", "script17")
BATCH = {0: "batch"}


@dataclass
class Row:
    name: str
    describes: str
    module: nn.Module
    # Input name -> array, once per recorded case; the first is what is exported.
    cases: list
    outputs: tuple = ("y",)
    dynamic: dict = field(default_factory=dict)  # input name -> {axis: name}
    exporters: tuple = ALL
    # Exporter -> operator that Weft lacks: the test expects to be told so.
    unsupported: dict = field(default_factory=dict)
    full_size: bool = True
    record: bool = True
    keep_traces: bool = False
    # The older exporter fixes some sizes of attention modules at those of case 0.
    script_fixed: bool = False
    scale: float = 1.0  # of the tolerance: sqrt(K) where weights are N(0,1)

    @property
    def inputs(self):
        return tuple(self.cases[0])


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


MAKERS = []


def maker(function):
    MAKERS.append(function)
    return function


def all_rows():
    return MAKERS


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def seeded(make, seed=42):
    torch.manual_seed(seed)
    return make().eval()


def normal(module, seed=42):
    """Fills all parameters from N(0,1), not scaled."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def x_cases(*shapes, name="x"):
    return [{name: numbers(100 + i, *shape)} for i, shape in enumerate(shapes)]


# Table 1: operations.


class MatMul(nn.Module):
    def forward(self, a, b):
        return torch.matmul(a, b)


class LinearCall(nn.Module):
    def forward(self, x, w, b):
        return F.linear(x, w, b)


class SoftmaxCall(nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1)


class ReluCall(nn.Module):
    def forward(self, x):
        return torch.relu(x)


class Conv1dCall(nn.Module):
    def forward(self, x, w, b):
        return F.conv1d(x, w, b, padding=1)


class LayerNormCall(nn.Module):
    def forward(self, x, w, b):
        return F.layer_norm(x, (256,), w, b)


class GeluCall(nn.Module):
    def forward(self, x):
        return F.gelu(x)


@maker
def t1_matmul(full):
    return Row("t1_matmul", "table 1 matmul [256,256] x [256,256]", MatMul(),
               [{"a": numbers(1, 256, 256), "b": numbers(2, 256, 256)}],
               scale=math.sqrt(256), keep_traces=True)


@maker
def t1_linear_inputs(full):
    case = {"x": numbers(1, 32, 64), "w": numbers(2, 128, 64), "b": numbers(3, 128)}
    return Row("t1_linear_inputs", "table 1 F.linear, weights as inputs", LinearCall(),
               [case], scale=math.sqrt(64))


@maker
def t1_linear(full):
    return Row("t1_linear", "table 1 F.linear, weights as initializers",
               seeded(lambda: nn.Linear(64, 128)), x_cases((32, 64)))


@maker
def t1_softmax(full):
    return Row("t1_softmax", "table 1 softmax [32,256]", SoftmaxCall(), x_cases((32, 256)))


@maker
def t1_relu(full):
    return Row("t1_relu", "table 1 relu [32,256]", ReluCall(), x_cases((32, 256)))


@maker
def t1_conv1d_inputs(full):
    case = {"x": numbers(1, 4, 64, 128), "w": numbers(2, 64, 64, 3), "b": numbers(3, 64)}
    return Row("t1_conv1d_inputs", "table 1 conv1d, weights as inputs", Conv1dCall(), [case],
               scale=math.sqrt(192))


@maker
def t1_conv1d(full):
    return Row("t1_conv1d", "table 1 conv1d, weights as initializers",
               seeded(lambda: nn.Conv1d(64, 64, 3, padding=1)),
               x_cases((4, 64, 128), (1, 64, 50)),
               dynamic={"x": {0: "batch", 2: "length"}})


@maker
def t1_layernorm_inputs(full):
    cases = [{"x": numbers(1, n, 128 if full else 16, 256), "w": numbers(2, 256),
              "b": numbers(3, 256)} for n in (4, 1)]
    return Row("t1_layernorm_inputs", "table 1 layernorm, weights as inputs", LayerNormCall(),
               cases, dynamic={"x": BATCH}, full_size=full)


# Table 2: modules.


def mlp(a, b, c, d):
    return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(),
                         nn.Linear(c, d))


def conv1d_x3(width):
    return nn.Sequential(nn.Conv1d(1, width, 3, padding=1), nn.ReLU(),
                         nn.Conv1d(width, width, 3, padding=1), nn.ReLU(),
                         nn.Conv1d(width, 1, 3, padding=1))


def fill_biases(attention):
    """They start as zeros, and the exporter leaves zeros out."""
    with torch.no_grad():
        attention.in_proj_bias.copy_(0.1 * torch.randn(attention.in_proj_bias.shape))
        attention.out_proj.bias.copy_(0.1 * torch.randn(attention.out_proj.bias.shape))


def encoder(d, heads, ff):
    layer = nn.TransformerEncoderLayer(d, heads, ff, dropout=0.0, batch_first=True)
    fill_biases(layer.self_attn)
    with torch.no_grad():
        for norm in (layer.norm1, layer.norm2):
            norm.weight.copy_(1 + 0.1 * torch.randn(d))
            norm.bias.copy_(0.1 * torch.randn(d))
    return layer


class SelfAttention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        fill_biases(self.attention)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class SelfAttentionWeights(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        fill_biases(self.attention)

    def forward(self, x):
        return self.attention(x, x, x)


@maker
def t2_linear(full):
    return Row("t2_linear", "table 2 nn.Linear 256 -> 128", seeded(lambda: nn.Linear(256, 128)),
               x_cases((4, 256), (1, 256), (7, 256)), dynamic={"x": BATCH}, keep_traces=True)


@maker
def t2_mlp(full):
    return Row("t2_mlp", "table 2 MLP", seeded(lambda: mlp(256, 512, 512, 256)),
               x_cases((4, 256), (1, 256)), dynamic={"x": BATCH},
               exporters=ALL if full else ("dynamo",))


@maker
def t2_mlp_small(full):
    return Row("t2_mlp_small", "table 2 MLP at width 32", seeded(lambda: mlp(16, 32, 32, 16)),
               x_cases((4, 16), (1, 16)), dynamic={"x": BATCH}, full_size=False)


@maker
def t2_conv1d_x3(full):
    return Row("t2_conv1d_x3", "table 2 Conv1d (3 layers)", seeded(lambda: conv1d_x3(64)),
               x_cases((4, 1, 1024)))


@maker
def t2_conv2d(full):
    # The output has 51 MB: only the model is committed, the next row has answers.
    return Row("t2_conv2d", "table 2 and 5 Conv2d [4,3,224,224], model only",
               normal(nn.Conv2d(3, 64, 3, padding=1)), x_cases((4, 3, 224, 224)), record=full,
               scale=math.sqrt(27))


@maker
def t2_conv2d_dynamic(full):
    axes = {0: "batch", 2: "height", 3: "width"}
    return Row("t2_conv2d_dynamic", "table 2 and 5 Conv2d, smaller pictures",
               normal(nn.Conv2d(3, 64, 3, padding=1)), x_cases((2, 3, 9, 13), (1, 3, 24, 20)),
               dynamic={"x": axes}, scale=math.sqrt(27), full_size=False)


@maker
def t2_layernorm(full):
    return Row("t2_layernorm", "table 2 LayerNorm 256, model only",
               normal(nn.LayerNorm(256)), x_cases((4, 128, 256)), record=full)


@maker
def t2_encoder(full):
    return Row("t2_encoder", "table 2 TransformerEncoderLayer",
               seeded(lambda: encoder(256, 4, 2048)), x_cases((4, 32, 256)),
               exporters=ALL if full else ("dynamo",))


@maker
def t2_encoder_small(full):
    return Row("t2_encoder_small", "table 2 TransformerEncoderLayer at d 32, ff 64, static",
               seeded(lambda: encoder(32, 4, 64)), x_cases((4, 8, 32)), full_size=False,
               keep_traces=True)


@maker
def t2_encoder_small_batch(full):
    return Row("t2_encoder_small_batch", "the same with a dynamic batch",
               seeded(lambda: encoder(32, 4, 64)), x_cases((4, 8, 32), (1, 8, 32), (3, 8, 32)),
               dynamic={"x": BATCH}, full_size=False)


@maker
def t2_encoder_small_batch_length(full):
    return Row("t2_encoder_small_batch_length", "the same with dynamic batch and length",
               seeded(lambda: encoder(32, 4, 64)), x_cases((4, 8, 32), (1, 13, 32), (2, 5, 32)),
               dynamic={"x": {0: "batch", 1: "length"}}, full_size=False, script_fixed=True)


@maker
def t2_attention(full):
    return Row("t2_attention", "table 2 MultiheadAttention",
               seeded(lambda: SelfAttention(256, 4)), x_cases((4, 128, 256)),
               exporters=ALL if full else ("dynamo",))


@maker
def t2_attention_small(full):
    return Row("t2_attention_small", "table 2 MultiheadAttention at d 32",
               seeded(lambda: SelfAttention(32, 4)), x_cases((4, 16, 32)), full_size=False)


@maker
def t2_attention_small_batch(full):
    return Row("t2_attention_small_batch", "the same with a dynamic batch",
               seeded(lambda: SelfAttention(32, 4)), x_cases((4, 16, 32), (1, 16, 32)),
               dynamic={"x": BATCH}, full_size=False)


@maker
def t2_attention_small_weights(full):
    return Row("t2_attention_small_weights", "the same with need_weights=True",
               seeded(lambda: SelfAttentionWeights(32, 4)), x_cases((4, 16, 32)),
               outputs=("y", "weights"), full_size=False)


# Table 4: mixed.


class TtsLike(nn.Module):
    def __init__(self, mel, width, hidden):
        super().__init__()
        self.conv1 = nn.Conv1d(mel, width, 5, padding=2)
        self.conv2 = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, mel)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.norm(x.transpose(1, 2))
        return self.down(F.gelu(self.up(x)))


class Translation(nn.Module):
    def __init__(self, d, heads, ff):
        super().__init__()
        self.layers = nn.ModuleList([encoder(d, heads, ff) for _ in range(2)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@maker
def t4_tts(full):
    if not full:
        return None  # 2.4 MB of weights
    return Row("t4_tts", "table 4 TTS-like", seeded(lambda: TtsLike(80, 256, 512)),
               x_cases((1, 80, 200)))


@maker
def t4_tts_small(full):
    return Row("t4_tts_small", "table 4 TTS-like at width 32, dynamic",
               seeded(lambda: TtsLike(16, 32, 48)), x_cases((2, 16, 21), (1, 16, 30)),
               dynamic={"x": {0: "batch", 2: "length"}}, full_size=False)


@maker
def t4_translation(full):
    if not full:
        return None  # 25 MB of weights
    return Row("t4_translation", "table 4 translation-like",
               seeded(lambda: Translation(512, 8, 2048)), x_cases((1, 64, 512)))


@maker
def t4_translation_small(full):
    return Row("t4_translation_small", "table 4 translation-like at d 48, ff 96",
               seeded(lambda: Translation(48, 8, 96)), x_cases((1, 16, 48)), full_size=False,
               exporters=ALL if full else ("dynamo",))


@maker
def t4_translation_small_batch(full):
    return Row("t4_translation_small_batch", "the same, dynamic batch and length",
               seeded(lambda: Translation(48, 8, 96)), x_cases((3, 7, 48), (1, 16, 48)),
               dynamic={"x": {0: "batch", 1: "length"}}, full_size=False, script_fixed=True)


# Table 5: the ten correctness models. Row 8 is t2_conv2d.


@maker
def t5_linear_512(full):
    if not full:
        return None  # the same form as t2_linear
    return Row("t5_linear_512", "table 5 Linear_16x512x256", normal(nn.Linear(512, 256)),
               x_cases((16, 512)), scale=math.sqrt(512))


@maker
def t5_linear_2048(full):
    if not full:
        return None  # 16 MB of weights
    return Row("t5_linear_2048", "table 5 Linear_64x2048x2048", normal(nn.Linear(2048, 2048)),
               x_cases((64, 2048)), scale=math.sqrt(2048))


def two(a, b):
    return [{"a": numbers(1, *a), "b": numbers(2, *b)}]


@maker
def t5_matmul_512(full):
    return Row("t5_matmul_512", "table 5 Matmul_256x512x256", MatMul(),
               two((256, 512), (512, 256)), scale=math.sqrt(512), record=full)


@maker
def t5_matmul_1024(full):
    return Row("t5_matmul_1024", "table 5 Matmul_1024x1024x1024", MatMul(),
               two((1024, 1024), (1024, 1024)), scale=math.sqrt(1024), record=full)


@maker
def t5_matmul_dynamic(full):
    cases = two((5, 70), (70, 9)) + two((16, 512), (512, 24)) + two((1, 33), (33, 1))
    return Row("t5_matmul_dynamic", "table 5 Matmul, any size", MatMul(), cases,
               dynamic={"a": {0: "m", 1: "k"}, "b": {0: "k", 1: "n"}}, scale=math.sqrt(512),
               full_size=False)


@maker
def t5_bmm(full):
    class Bmm(nn.Module):
        def forward(self, a, b):
            return torch.bmm(a, b)

    return Row("t5_bmm", "table 5 BMM_8x64x64x64", Bmm(), two((8, 64, 64), (8, 64, 64)),
               scale=math.sqrt(64))


@maker
def t5_layernorm(full):
    return Row("t5_layernorm", "table 5 LayerNorm_16x512x768, model only",
               normal(nn.LayerNorm(768)), x_cases((16, 512, 768)), record=full)


@maker
def t5_layernorm_small(full):
    return Row("t5_layernorm_small", "table 5 LayerNorm over 768, fewer rows",
               normal(nn.LayerNorm(768)), x_cases((2, 20, 768)),
               dynamic={"x": {0: "batch", 1: "length"}}, full_size=False)


@maker
def t5_softmax(full):
    return Row("t5_softmax", "table 5 Softmax_4x128x32000, model only", SoftmaxCall(),
               x_cases((4, 128, 32000)), record=full)


@maker
def t5_softmax_small(full):
    return Row("t5_softmax_small", "table 5 Softmax over 32000, fewer rows", SoftmaxCall(),
               x_cases((1, 1, 32000)), full_size=False)


@maker
def t5_gelu(full):
    return Row("t5_gelu", "table 5 GELU_16x512x768, model only", GeluCall(),
               x_cases((16, 512, 768)), record=full)


@maker
def t5_gelu_small(full):
    cases = [{"x": 4 * numbers(7, 2, 20, 96)}]
    return Row("t5_gelu_small", "table 5 GELU (erf), smaller", GeluCall(), cases,
               full_size=False)


@maker
def t5_block(full):
    if not full:
        return None  # 3 MB of weights, of the same form as t2_encoder
    return Row("t5_block", "table 5 TransformerBlock_4x128x256_h4",
               seeded(lambda: encoder(256, 4, 1024)), x_cases((4, 128, 256)))


# What a batch queue joins: rows of one request's size, as many as there are.


@maker
def q_linear(full):
    return Row("q_linear", "queued Linear 2048 -> 2048, narrowed to 12 outputs",
               seeded(lambda: nn.Linear(2048, 2048 if full else 12)),
               x_cases((3, 2048), (1, 2048)), dynamic={"x": BATCH}, full_size=full,
               exporters=ALL if full else ("dynamo",))


@maker
def q_encoder_token(full):
    d, ff = (256, 2048) if full else (48, 96)
    return Row("q_encoder_token", "queued TransformerEncoderLayer, one token per row",
               seeded(lambda: encoder(d, 4, ff)), x_cases((3, 1, d), (1, 1, d)),
               dynamic={"x": BATCH}, full_size=full)


# The race reproduction.


class RaceChain(nn.Module):
    def __init__(self, e, heads):
        super().__init__()
        self.e, self.heads = e, heads
        self.weight = nn.Parameter(torch.randn(3 * e, e) / math.sqrt(e))
        self.bias = nn.Parameter(torch.randn(3 * e))

    def forward(self, x):
        b, s, e = x.shape
        proj = F.linear(x, self.weight, self.bias)
        proj = proj.unflatten(-1, (3, e)).unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous()
        q, k, v = proj[0], proj[1], proj[2]
        q = q.view(b, s, self.heads, e // self.heads).transpose(1, 2)
        k = k.view(b, s, self.heads, e // self.heads).transpose(1, 2)
        v = v.view(b, s, self.heads, e // self.heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).reshape(b, s, e)


@maker
def race(full):
    return Row("race", "the race reproduction", seeded(lambda: RaceChain(256, 4)),
               x_cases((4, 128, 256)), exporters=ALL if full else ("dynamo",))


@maker
def race_small(full):
    return Row("race_small", "the race reproduction at E 32", seeded(lambda: RaceChain(32, 4)),
               x_cases((4, 16, 32)), full_size=False)


@maker
def race_small_batch(full):
    return Row("race_small_batch", "the same with a dynamic batch",
               seeded(lambda: RaceChain(32, 4)), x_cases((4, 16, 32), (1, 16, 32), (9, 16, 32)),
               dynamic={"x": BATCH}, full_size=False)
