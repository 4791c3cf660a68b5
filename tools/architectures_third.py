# SPDX-License-Identifier: Apache-2.0
"""A third list of what architectures.py has: decoders of the newer kinds, deformable and
masked detection, codecs of sound, and the odd operators that a front or a back end brings."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from architectures import Outputs, SMALL, image, text, vision, words
from architectures_more import BATCH, plain, scores

DECODER = dict(num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0,
               bos_token_id=1, eos_token_id=2, **SMALL)
EXPERTS = dict(num_experts_per_tok=2, experts_implementation="batched_mm")
LAYERS_OF_WINDOWS = dict(sliding_window=4,
                         layer_types=["sliding_attention", "full_attention"])
FOUR = ["stage1", "stage2", "stage3", "stage4"]


def nested(name, head, outputs, names, inputs, dims, config):
    """A class of `transformers` whose configuration holds others: a function makes it."""
    def make():
        import transformers
        made = config(lambda kind, **more: getattr(transformers, f"{kind}Config")(**more))
        return Outputs(getattr(transformers, name + head)(made), outputs, names), inputs(), dims
    return make


def deformable_detr(config):
    back = config("ResNet", embedding_size=16, hidden_sizes=[16, 32, 48, 64],
                  depths=[1, 1, 1, 1], out_features=FOUR[1:])
    return config("DeformableDetr", use_timm_backbone=False, backbone=None,
                  use_pretrained_backbone=False, backbone_config=back, d_model=32,
                  encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
                  decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
                  num_queries=7, num_labels=5)


def mask2former(config):
    back = config("Swin", image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1],
                  num_heads=[2, 2, 2, 2], window_size=4, out_features=FOUR)
    return config("Mask2Former", backbone_config=back, backbone=None, feature_size=32,
                  use_pretrained_backbone=False, mask_feature_size=32, hidden_dim=32,
                  encoder_feedforward_dim=64, encoder_layers=1, decoder_layers=2,
                  num_attention_heads=4, dim_feedforward=64, num_queries=7, num_labels=5)


def parakeet(config):
    inner = config("ParakeetEncoder", num_mel_bins=16, subsampling_conv_channels=8,
                   conv_kernel_size=5, **SMALL)
    return config("ParakeetCTC", vocab_size=12, encoder_config=inner)


def moonshine(config):
    return config("Moonshine", vocab_size=99, hidden_size=32, encoder_num_hidden_layers=1,
                  decoder_num_hidden_layers=1, encoder_num_attention_heads=4,
                  decoder_num_attention_heads=4, intermediate_size=64)


class Codec(nn.Module):
    """Codes of a codec to sound (Mimi)."""

    def __init__(self):
        super().__init__()
        from transformers import MimiConfig, MimiModel
        self.model = MimiModel(MimiConfig(
            hidden_size=32, num_filters=8, num_residual_layers=1, upsampling_ratios=[4, 2],
            codebook_size=16, codebook_dim=16, num_quantizers=4, num_hidden_layers=1,
            num_attention_heads=4, num_key_value_heads=4, intermediate_size=64,
            vector_quantization_hidden_dimension=16, upsample_groups=32, sliding_window=8,
            head_dim=8, num_semantic_quantizers=1))

    def forward(self, codes):
        return self.model.decode(codes, return_dict=True).audio_values


class Standardised(nn.Module):
    """Convolutions whose weights are standardised before use (NFNet): a batch norm in
    training mode, of the weights."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 8), (8, 16)))
        self.gains = nn.ParameterList(torch.rand(b) + 0.5 for b in (8, 16))

    def forward(self, x):
        for conv, gain in zip(self.convs, self.gains):
            flat = conv.weight.reshape(1, conv.out_channels, -1)
            weight = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0)
            x = F.gelu(F.conv2d(x, weight.reshape_as(conv.weight), conv.bias, 2, 1))
        return x.mean((2, 3))


class Vocos(nn.Module):
    """Frames to sound: magnitudes and phases, an inverse transform by convolutions."""

    def __init__(self, size=16, hop=4):
        super().__init__()
        self.size, self.hop = size, hop
        self.head = nn.Conv1d(8, size + 2, 7, padding=3)
        angles = torch.outer(torch.arange(size // 2 + 1), torch.arange(size)) * 2 * math.pi / size
        scale = torch.full((size // 2 + 1, 1), 2 / size)
        scale[0] = scale[-1] = 1 / size
        window = torch.hann_window(size)
        self.register_buffer("real", (torch.cos(angles) * scale * window).unsqueeze(1))
        self.register_buffer("imaginary", (-torch.sin(angles) * scale * window).unsqueeze(1))
        self.register_buffer("squares", (window ** 2).view(1, 1, -1))

    def forward(self, x):
        size, phase = self.head(x).chunk(2, 1)
        size = torch.exp(size).clamp(max=100)
        wave = (F.conv_transpose1d(size * torch.cos(phase), self.real, stride=self.hop) +
                F.conv_transpose1d(size * torch.sin(phase), self.imaginary, stride=self.hop))
        whole = F.conv_transpose1d(torch.ones_like(size[:, :1]), self.squares, stride=self.hop)
        return (wave / (whole + 1e-6))[..., self.size // 2:-self.size // 2]


class Durations(nn.Module):
    """Each word as often as it is long (FastSpeech): sizes found on the way."""

    def forward(self, x, lengths):
        return torch.repeat_interleave(x, lengths, dim=0).cumsum(0)


class Patches(nn.Module):
    """An image to overlapping patches and back."""

    def forward(self, x):
        back = F.fold(F.unfold(x, 3, padding=1) * 2, x.shape[2:], 3, padding=1)
        return back, x.unfold(3, 4, 2).amax(-1)


class ByteCache(nn.Module):
    """Attention over keys that are kept as bytes with a scale for each."""

    def forward(self, query, keys, scales):
        keys = keys.float() * scales
        return F.scaled_dot_product_attention(query, keys, keys)


def byte_cache():
    keys = torch.randint(-128, 127, (1, 2, 5, 8), dtype=torch.int8)
    return (ByteCache(), (torch.randn(1, 2, 3, 8), keys, torch.rand(1, 2, 5, 1)),
            [{2: "new"}, {2: "past"}, {2: "past"}])


def clip_of(frames=4):
    return lambda: (torch.randn(1, frames, 3, 32, 32),)


THIRD = {
    "deepseek3": scores("DeepseekV3", n_routed_experts=4, n_group=2, topk_group=1,
                        moe_intermediate_size=32, n_shared_experts=1, q_lora_rank=16,
                        kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
                        first_k_dense_replace=1, **EXPERTS, **{**DECODER, "num_key_value_heads": 4}),
    "gptoss": scores("GptOss", num_local_experts=4, head_dim=8, **EXPERTS, **LAYERS_OF_WINDOWS,
                     **DECODER),
    "qwen3moe": scores("Qwen3Moe", num_experts=4, head_dim=8, moe_intermediate_size=32,
                       **EXPERTS, **DECODER),
    "qwen3next": scores("Qwen3Next", num_experts=4, head_dim=8, moe_intermediate_size=32,
                        shared_expert_intermediate_size=32, linear_num_value_heads=4,
                        linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
                        layer_types=["linear_attention", "full_attention"], **EXPERTS,
                        **DECODER),
    "lfm2": scores("Lfm2", layer_types=["conv", "full_attention"], **DECODER),
    "olmo2": scores("Olmo2", **DECODER),
    "cohere2": scores("Cohere2", **LAYERS_OF_WINDOWS, **DECODER),
    "mamba2": scores("Mamba2", hidden_size=32, state_size=8, num_hidden_layers=2, num_heads=8,
                     head_dim=8, n_groups=2, chunk_size=4, expand=2),
    "rwkv": scores("Rwkv", hidden_size=32, num_hidden_layers=2, attention_hidden_size=32,
                   intermediate_size=64),
    "bigbird": text("BigBird", vocab_size=99, attention_type="original_full", **SMALL),
    "longt5": plain("LongT5", "EncoderModel", ("last_hidden_state",), ["input_ids"],
                    lambda: (words(99, 2, 16),), BATCH, vocab_size=99, d_model=32, d_kv=8,
                    d_ff=64, num_layers=2, num_heads=4, local_radius=4,
                    encoder_attention_type="local"),
    "perceiver": plain("Perceiver", "Model", ("last_hidden_state",), ["inputs"],
                       lambda: (torch.randn(2, 10, 32),), [{0: "batch", 1: "length"}],
                       num_latents=6, d_latents=16, d_model=32, num_blocks=1,
                       num_self_attends_per_block=2, num_self_attention_heads=2,
                       num_cross_attention_heads=2),
    "deformable_detr": nested("DeformableDetr", "ForObjectDetection", ("logits", "pred_boxes"),
                              ["pixel_values"], lambda: image(128, 1), [{}], deformable_detr),
    "mask2former": nested("Mask2Former", "ForUniversalSegmentation",
                          ("class_queries_logits", "masks_queries_logits"), ["pixel_values"],
                          lambda: image(64, 1), [{}], mask2former),
    "bit": vision("Bit", embedding_size=16, hidden_sizes=[16, 32, 48, 64],
                  depths=[1, 1, 1, 1], num_groups=4),
    "nfnet": lambda: (Standardised(), image(32, 2), BATCH),
    "timesformer": plain("Timesformer", "ForVideoClassification", ("logits",),
                         ["pixel_values"], clip_of(), BATCH, image_size=32, patch_size=16,
                         num_frames=4, num_labels=5, **SMALL),
    "vivit": plain("Vivit", "ForVideoClassification", ("logits",), ["pixel_values"], clip_of(),
                   BATCH, image_size=32, tubelet_size=[2, 16, 16], num_frames=4, num_labels=5,
                   **SMALL),
    "parakeet": nested("Parakeet", "ForCTC", ("logits",), ["input_features"],
                       lambda: (torch.randn(1, 64, 16),), [{1: "frames"}], parakeet),
    "moonshine": nested("Moonshine", "Model", ("last_hidden_state",),
                        ["input_values", "decoder_input_ids"],
                        lambda: (torch.randn(1, 2000), words(99, 1, 4)), [{}, {1: "words"}],
                        moonshine),
    "wav2vec2bert": plain("Wav2Vec2Bert", "Model", ("last_hidden_state",), ["input_features"],
                          lambda: (torch.randn(2, 20, 16),), BATCH,
                          feature_projection_input_dim=16, conv_depthwise_kernel_size=5,
                          left_max_position_embeddings=4, right_max_position_embeddings=2,
                          **SMALL),
    "mimi": lambda: (Codec(), (torch.randint(0, 16, (1, 4, 6)),), [{2: "frames"}]),
    "vocos": lambda: (Vocos(), (torch.randn(2, 8, 10),), [{0: "batch", 2: "frames"}]),
    "durations": lambda: (Durations(), (torch.randn(5, 4), torch.tensor([1, 0, 3, 2, 4])),
                          [{0: "words"}, {0: "words"}]),
    "patches": lambda: (Patches(), (torch.randn(1, 3, 8, 8),), BATCH),
    "byte_cache": byte_cache,
}
