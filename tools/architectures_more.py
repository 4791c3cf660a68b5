# SPDX-License-Identifier: Apache-2.0
"""More of what architectures.py has: speech, detectors, mixtures of experts, state
spaces, networks of graphs, and series of times."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures import (Outputs, SMALL, decoder, image, past_of, text, vision, words)


def sound(name, head, outputs, **config):
    """Models of a wave, [batch, samples]."""
    def make():
        import transformers
        made = getattr(transformers, f"{name}Config")(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            conv_dim=[16] * 3, conv_kernel=[10, 3, 3], conv_stride=[5, 2, 2], vocab_size=12,
            num_feat_extract_layers=3, num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4, **config)
        return (Outputs(getattr(transformers, name + head)(made), outputs, ["input_values"]),
                (torch.randn(2, 2000),), [{0: "batch", 1: "samples"}])
    return make


def plain(name, head, outputs, names, inputs, dims, **config):
    """Any other class of `transformers`."""
    def make():
        import transformers
        made = getattr(transformers, f"{name}Config")(**config)
        return Outputs(getattr(transformers, name + head)(made), outputs, names), inputs(), dims
    return make


class Scores(nn.Module):
    """Words to the scores of the next ones, without a cache."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(input_ids=tokens, use_cache=False, return_dict=True).logits


def scores(name, head="ForCausalLM", **config):
    def make():
        import transformers
        made = getattr(transformers, f"{name}Config")(vocab_size=99, **config)
        return (Scores(getattr(transformers, name + head)(made)), (words(99, 2, 6),),
                [{0: "batch", 1: "words"}])
    return make


def seq2seq(name):
    def make():
        import transformers
        config = getattr(transformers, f"{name}Config")(
            vocab_size=99, d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
            decoder_ffn_dim=64, max_position_embeddings=64, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
        model = getattr(transformers, f"{name}Model")(config)
        mask = torch.ones(2, 9, dtype=torch.int64)
        mask[1, 5:] = 0
        return (Outputs(model, ("last_hidden_state",),
                        ["input_ids", "attention_mask", "decoder_input_ids"]),
                (words(99, 2, 9), mask, words(99, 2, 4)),
                [{0: "batch", 1: "length"}, {0: "batch", 1: "length"}, {0: "batch", 1: "words"}])
    return make


class Graph(nn.Module):
    """Messages along edges: a mean over neighbours and attention over them."""

    def __init__(self, size=16):
        super().__init__()
        self.first, self.second = nn.Linear(8, size), nn.Linear(size, size)
        self.score = nn.Linear(2 * size, 1)
        self.head = nn.Linear(size, 3)

    def forward(self, nodes, edges):
        source, target = edges[0], edges[1]
        x = F.relu(self.first(nodes))
        count = nodes.shape[0]
        degree = torch.zeros(count, 1).index_add(0, target, torch.ones(edges.shape[1], 1))
        total = torch.zeros(count, x.shape[1]).index_add(0, target, x[source])
        x = F.relu(self.second(x + total / degree.clamp(min=1)))
        score = F.leaky_relu(self.score(torch.cat([x[source], x[target]], 1)))[:, 0]
        most = torch.full((count,), -1e9).scatter_reduce(0, target, score, "amax")
        weight = torch.exp(score - most[target])
        norm = torch.zeros(count).scatter_add(0, target, weight)
        weight = weight / norm[target]
        x = torch.zeros(count, x.shape[1]).index_add(0, target, weight[:, None] * x[source])
        return self.head(x), x.mean(0)


def graph():
    edges = torch.randint(0, 9, (2, 20))
    return Graph(), (torch.randn(9, 8), edges), [{0: "nodes"}, {1: "edges"}]


class WaveNet(nn.Module):
    """Dilated causal convolutions with gates and skips."""

    def __init__(self, channels=12, layers=5):
        super().__init__()
        self.start = nn.Conv1d(1, channels, 1)
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 2, dilation=2 ** i)
                                   for i in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(layers))
        self.end = nn.Conv1d(channels, 16, 1)

    def forward(self, x):
        x, total = self.start(x), 0
        for i, (gate, skip) in enumerate(zip(self.gates, self.skips)):
            y = gate(F.pad(x, (2 ** i, 0)))
            a, b = y.chunk(2, 1)
            y = skip(torch.tanh(a) * torch.sigmoid(b))
            x, total = x + y, total + y
        return torch.log_softmax(self.end(F.relu(total)), 1)


class Yolo(nn.Module):
    """A pyramid of convolutions, boxes of anchors decoded, the best hundred."""

    def __init__(self, kinds=4):
        super().__init__()
        def conv(i, o, k=3, s=1):
            return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o),
                                 nn.SiLU())
        self.a, self.b, self.c = conv(3, 8, 3, 2), conv(8, 16, 3, 2), conv(16, 32, 3, 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.squeeze, self.lateral = conv(128, 32, 1), conv(32, 16, 1)
        self.heads = nn.ModuleList([nn.Conv2d(32, 3 * (5 + kinds), 1),
                                    nn.Conv2d(32, 3 * (5 + kinds), 1)])
        self.register_buffer("anchors", torch.rand(2, 1, 3, 1, 1, 2) * 20 + 5)

    def decode(self, x, i, stride):
        n, _, h, w = x.shape
        x = x.view(n, 3, -1, h, w).permute(0, 1, 3, 4, 2).sigmoid()
        y, z = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((z, y), 2).view(1, 1, h, w, 2).float() - 0.5
        place = (x[..., 0:2] * 2 + grid) * stride
        size = (x[..., 2:4] * 2) ** 2 * self.anchors[i]
        return torch.cat((place, size, x[..., 4:]), -1).view(n, -1, x.shape[-1])

    def forward(self, x):
        x = self.b(self.a(x))
        y = self.c(x)
        p = [y]
        for _ in range(3):
            p.append(self.pool(p[-1]))
        y = self.squeeze(torch.cat(p, 1))
        up = F.interpolate(self.lateral(y), scale_factor=2.0, mode="nearest")
        made = torch.cat([self.decode(self.heads[0](torch.cat([up, x], 1)), 0, 4),
                          self.decode(self.heads[1](y), 1, 8)], 1)
        score, kind = (made[..., 5:] * made[..., 4:5]).max(-1)
        best, at = torch.topk(score, 100, dim=1)
        boxes = torch.gather(made[..., :4], 1, at[..., None].expand(-1, -1, 4))
        return boxes, best, torch.gather(kind, 1, at)


class Selective(nn.Module):
    """A state space whose steps depend on the input (Mamba's), by a loop in script."""

    def __init__(self, size=16, state=4):
        super().__init__()
        self.inner = nn.Linear(8, 2 * size)
        self.conv = nn.Conv1d(size, size, 4, padding=3, groups=size)
        self.parts = nn.Linear(size, 1 + 2 * state)
        self.delta = nn.Linear(1, size)
        self.a = nn.Parameter(torch.log(torch.arange(1, state + 1).float()).repeat(size, 1))
        self.d = nn.Parameter(torch.ones(size))
        self.out = nn.Linear(size, 8)
        self.state = state

    def forward(self, x):
        y, gate = self.inner(x).chunk(2, -1)
        y = F.silu(self.conv(y.transpose(1, 2))[..., :x.shape[1]]).transpose(1, 2)
        delta, b, c = self.parts(y).split([1, self.state, self.state], -1)
        delta = F.softplus(self.delta(delta))[..., None]
        a = torch.exp(delta * -torch.exp(self.a))
        b = delta * b[:, :, None] * y[..., None]
        # The scan by logarithms of prefix sums: h_t = sum over s <= t of the a's between.
        total = torch.cumsum(torch.log(a), 1)
        h = torch.exp(total) * torch.cumsum(b * torch.exp(-total), 1)
        y = (h * c[:, :, None]).sum(-1) + y * self.d
        return self.out(y * F.silu(gate))


class Experts(nn.Module):
    """A router that sends each word to two of its experts, by scattering."""

    def __init__(self, size=16, experts=4):
        super().__init__()
        self.router = nn.Linear(size, experts)
        self.first = nn.Parameter(torch.randn(experts, size, 32) * 0.2)
        self.second = nn.Parameter(torch.randn(experts, 32, size) * 0.2)

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        weight, chosen = torch.topk(torch.softmax(self.router(flat), -1), 2)
        weight = weight / weight.sum(-1, keepdim=True)
        full = torch.zeros_like(self.router(flat)).scatter(1, chosen, weight)
        y = torch.einsum("nd,edh->enh", flat, self.first)
        y = torch.einsum("enh,ehd->end", F.silu(y), self.second)
        return torch.einsum("end,ne->nd", y, full).reshape(x.shape)


class Beam(nn.Module):
    """One step of a beam search over scores."""

    def forward(self, scores, total, tokens):
        beams, most = scores.shape
        every = (torch.log_softmax(scores, -1) + total[:, None]).reshape(-1)
        best, at = torch.topk(every, 3)
        source, word = torch.div(at, most, rounding_mode="floor"), at % most
        return torch.cat([tokens[source], word[:, None]], 1), best


def pixels(size=32, batch=1):
    return lambda: (torch.randn(batch, 3, size, size),)


BATCH = [{0: "batch"}]
PART = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64}


def video():
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification
    config = VideoMAEConfig(image_size=32, patch_size=8, num_frames=4, num_labels=5, **PART)
    return (Outputs(VideoMAEForVideoClassification(config), ("logits",), ["pixel_values"]),
            (torch.randn(2, 4, 3, 32, 32),), BATCH)


def siglip():
    from transformers import SiglipConfig, SiglipModel
    config = SiglipConfig(text_config={**PART, "vocab_size": 99, "max_position_embeddings": 16},
                          vision_config={**PART, "image_size": 32, "patch_size": 8})
    return (Outputs(SiglipModel(config), ("logits_per_image", "text_embeds"),
                    ["input_ids", "pixel_values"]),
            (words(97, 2, 9), torch.randn(2, 3, 32, 32)), [{0: "texts"}, {0: "images"}])


def conditional_detr():
    from transformers import (ConditionalDetrConfig, ConditionalDetrForObjectDetection,
                              ResNetConfig)
    back = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1],
                        out_features=["stage2", "stage3", "stage4"])
    config = ConditionalDetrConfig(
        use_timm_backbone=False, backbone_config=back, backbone=None,
        use_pretrained_backbone=False, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64, num_queries=9, num_labels=5)
    return (Outputs(ConditionalDetrForObjectDetection(config), ("logits", "pred_boxes"),
                    ["pixel_values"]), image(64, 1), BATCH)


def rt_detr():
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig
    back = RTDetrResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64],
                              depths=[1, 1, 1, 1], out_features=["stage2", "stage3", "stage4"],
                              layer_type="basic")
    config = RTDetrConfig(backbone_config=back, backbone=None, use_timm_backbone=False,
                          encoder_hidden_dim=32, encoder_in_channels=[32, 48, 64],
                          feat_strides=[8, 16, 32], encoder_ffn_dim=64,
                          encoder_attention_heads=2, decoder_in_channels=[32, 32, 32],
                          d_model=32, decoder_ffn_dim=64, decoder_attention_heads=2,
                          decoder_layers=1, num_queries=11, num_labels=5)
    model = RTDetrForObjectDetection(config)
    with torch.no_grad():  # so that which queries are best does not hang on a rounding
        for value in model.parameters():
            value.mul_(3 if value.dim() > 1 else 1)
    return (Outputs(model, ("logits", "pred_boxes"), ["pixel_values"]), image(64, 1), BATCH)


class Encodec(nn.Module):
    """Sound to what a codec makes of it: convolutions, LSTM, transposed convolutions."""

    def __init__(self):
        super().__init__()
        from transformers import EncodecConfig, EncodecModel
        self.model = EncodecModel(EncodecConfig(
            hidden_size=16, num_filters=4, upsampling_ratios=[4, 2], codebook_size=8,
            codebook_dim=16, num_lstm_layers=1, target_bandwidths=[1.5], norm_type="weight_norm"))

    def forward(self, wave):
        return self.model.decoder(self.model.encoder(wave))


def hifigan():
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig
    model = SpeechT5HifiGan(SpeechT5HifiGanConfig(
        model_in_dim=10, upsample_initial_channel=32, upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3], [1, 3]]))
    return model, (torch.randn(2, 13, 10),), [{0: "batch", 1: "frames"}]


MORE = {
    "conformer": sound("Wav2Vec2Conformer", "ForCTC", ("logits",),
                       position_embeddings_type="relative", conv_depthwise_kernel_size=7),
    "conformer_rotary": sound("Wav2Vec2Conformer", "ForCTC", ("logits",),
                              position_embeddings_type="rotary", conv_depthwise_kernel_size=7),
    "hubert": sound("Hubert", "ForCTC", ("logits",)),
    "wavlm": sound("WavLM", "Model", ("last_hidden_state",)),
    "spectrogram_vit": plain("AST", "ForAudioClassification", ("logits",), ["input_values"],
                             lambda: (torch.randn(2, 64, 16),), BATCH, max_length=64,
                             num_mel_bins=16, patch_size=8, frequency_stride=8, time_stride=8,
                             num_labels=5, **PART),
    "encodec": lambda: (Encodec(), (torch.randn(2, 1, 240),), BATCH),
    "hifigan": hifigan,
    "wavenet": lambda: (WaveNet(), (torch.randn(2, 1, 50),), [{0: "batch", 2: "samples"}]),
    "selective": lambda: (Selective(), (torch.randn(2, 7, 8),), [{0: "batch", 1: "words"}]),
    "mamba": scores("Mamba", hidden_size=16, state_size=4, num_hidden_layers=2),
    "experts": lambda: (Experts(), (torch.randn(2, 5, 16),), [{0: "batch", 1: "words"}]),
    "mixtral": decoder("Mixtral", num_local_experts=4, num_experts_per_tok=2,
                       experts_implementation="batched_mm"),
    "qwen2moe": decoder("Qwen2Moe", num_experts=4, num_experts_per_tok=2,
                        moe_intermediate_size=32, shared_expert_intermediate_size=32,
                        experts_implementation="batched_mm"),
    "gemma2": decoder("Gemma2", head_dim=8),
    "phi": decoder("Phi", pad_token_id=0),
    "neox": scores("GPTNeoX", **SMALL),
    "bloom": scores("Bloom", hidden_size=32, n_layer=2, n_head=4),
    "falcon": scores("Falcon", hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "opt": scores("OPT", hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                  ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=32),
    "bart": seq2seq("Bart"),
    "marian": seq2seq("Marian"),
    "electra": text("Electra", vocab_size=99, embedding_size=16, **SMALL),
    "xlnet": text("XLNet", vocab_size=99, d_model=32, n_layer=2, n_head=4, d_inner=64),
    "fnet": plain("FNet", "Model", ("last_hidden_state",), ["input_ids"],
                  lambda: (words(99, 2, 9),), [{0: "batch"}], vocab_size=99, hidden_size=32,
                  num_hidden_layers=2, intermediate_size=64),
    "squeezebert": text("SqueezeBert", vocab_size=99, embedding_size=32, q_groups=2,
                        k_groups=2, v_groups=2, **SMALL),
    "mobilebert": text("MobileBert", vocab_size=99, embedding_size=16,
                       intra_bottleneck_size=16, **SMALL),
    "convbert": text("ConvBert", vocab_size=99, embedding_size=16, **SMALL),
    "modernbert": text("ModernBert", vocab_size=99, local_attention=4, pad_token_id=0,
                       **SMALL),
    "regnet": vision("RegNet", embedding_size=8, hidden_sizes=[8, 16, 24, 32],
                     depths=[1, 1, 1, 1], groups_width=4),
    "mobilevit": vision("MobileViT", image_size=64, hidden_sizes=[16, 24, 32],
                        neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32], num_attention_heads=2),
    "poolformer": vision("PoolFormer", depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32]),
    "pvt": vision("Pvt", image_size=64, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32],
                  num_attention_heads=[1, 2, 2, 4]),
    "swin2": vision("Swinv2", image_size=64, patch_size=4, embed_dim=16, depths=[2, 2],
                    num_heads=[2, 4], window_size=4),
    "convnext2": vision("ConvNextV2", depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32]),
    "beit": vision("Beit", image_size=64, patch_size=16, use_relative_position_bias=True,
                   **SMALL),
    "dino2": vision("Dinov2", image_size=56, patch_size=14, size=56, mlp_ratio=2,
                    **{k: v for k, v in SMALL.items() if k != "intermediate_size"}),
    "depth": plain("GLPN", "ForDepthEstimation", ("predicted_depth",), ["pixel_values"],
                   pixels(64), BATCH, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32],
                   num_attention_heads=[1, 2, 2, 4], decoder_hidden_size=16),
    "swin2sr": plain("Swin2SR", "ForImageSuperResolution", ("reconstruction",),
                     ["pixel_values"], pixels(16), BATCH, image_size=16, embed_dim=16,
                     depths=[2], num_heads=[2], window_size=4, upscale=2),
    "video": video,
    "siglip": siglip,
    "yolo": lambda: (Yolo(), image(64, 2), BATCH),
    "yolos": plain("Yolos", "ForObjectDetection", ("logits", "pred_boxes"), ["pixel_values"],
                   pixels(64), BATCH, image_size=[64, 64], patch_size=16,
                   num_detection_tokens=7, num_labels=4, **PART),
    "conditional_detr": conditional_detr,
    "rt_detr": rt_detr,
    "patchtst": plain("PatchTST", "ForPrediction", ("prediction_outputs",), ["past_values"],
                      lambda: (torch.randn(2, 32, 3),), BATCH, num_input_channels=3,
                      context_length=32, patch_length=8, patch_stride=4, d_model=16,
                      num_hidden_layers=2, num_attention_heads=2, ffn_dim=32,
                      prediction_length=5),
    "graph": graph,
    "beam": lambda: (Beam(), (torch.randn(3, 11), torch.randn(3), torch.randint(0, 11, (3, 4))),
                     [{0: "beams"}, {0: "beams"}, {0: "beams", 1: "words"}]),
}
