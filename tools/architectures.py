# SPDX-License-Identifier: Apache-2.0
"""Architectures that others publish, small and with random weights: what
check_architectures.py exports by both exporters and several opsets.

Those of `transformers` are its own classes; the rest is written out in plain PyTorch.
Every entry is a function that gives the module, the inputs of one request, and for each
input the axes that may vary.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Outputs(nn.Module):
    """A module of `transformers` that gives plain tensors: those of `names`."""

    def __init__(self, model, names, arguments):
        super().__init__()
        self.model, self.names, self.arguments = model, names, arguments

    def forward(self, *tensors):
        made = self.model(**dict(zip(self.arguments, tensors)), return_dict=True)
        return tuple(made[name] for name in self.names)


def image(size=64, batch=2):
    return (torch.randn(batch, 3, size, size),)


def words(most, batch, length):
    return torch.randint(3, most, (batch, length))


def vision(name, outputs=("logits",), size=64, **config):
    import transformers

    def make():
        kind = getattr(transformers, f"{name}Config")
        made = kind(num_labels=10, **config)
        head = getattr(transformers, f"{name}ForImageClassification")
        made._attn_implementation = "sdpa" if name in ("ViT", ) else "eager"
        return Outputs(head(made), outputs, ["pixel_values"]), image(size), [{0: "batch"}]
    return make


def detr():
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
    back = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1],
                        out_features=["stage4"])
    config = DetrConfig(use_timm_backbone=False, backbone_config=back, d_model=32,
                        encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
                        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
                        num_queries=7, num_labels=5, use_pretrained_backbone=False,
                        backbone=None)
    return (Outputs(DetrForObjectDetection(config), ("logits", "pred_boxes"), ["pixel_values"]),
            image(64, 1), [{0: "batch"}])


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
    config = SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32],
                             decoder_hidden_size=16, num_labels=4)
    return (Outputs(SegformerForSemanticSegmentation(config), ("logits",), ["pixel_values"]),
            image(64, 1), [{0: "batch"}])


def wav2vec2():
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC
    config = Wav2Vec2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                            intermediate_size=64, conv_dim=[16] * 7, vocab_size=12,
                            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
    return (Outputs(Wav2Vec2ForCTC(config), ("logits",), ["input_values"]),
            (torch.randn(2, 4000),), [{0: "batch", 1: "samples"}])


def t5_config():
    from transformers import T5Config
    return T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                    decoder_start_token_id=0)


def t5_encoder():
    from transformers import T5EncoderModel
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    return (Outputs(T5EncoderModel(t5_config()), ("last_hidden_state",),
                    ["input_ids", "attention_mask"]),
            (words(99, 2, 9), mask), [{0: "batch", 1: "length"}] * 2)


class Seq2SeqDecoder(nn.Module):
    """All words so far and what the encoder has made, to the next word's scores."""

    def __init__(self, decoder, head):
        super().__init__()
        self.decoder, self.head = decoder, head

    def forward(self, tokens, hidden, mask):
        made = self.decoder(input_ids=tokens, encoder_hidden_states=hidden,
                            encoder_attention_mask=mask, use_cache=False, return_dict=True)
        return self.head(made.last_hidden_state[:, -1])


def t5_decoder():
    from transformers import T5ForConditionalGeneration
    model = T5ForConditionalGeneration(t5_config())
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    return (Seq2SeqDecoder(model.decoder, model.lm_head),
            (words(99, 2, 4), torch.randn(2, 9, 32), mask),
            [{0: "batch", 1: "words"}, {0: "batch", 1: "length"}, {0: "batch", 1: "length"}])


def m2m100_config():
    from transformers import M2M100Config
    return M2M100Config(vocab_size=99, d_model=32, encoder_layers=2, decoder_layers=2,
                        encoder_attention_heads=4, decoder_attention_heads=4,
                        encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64)


def m2m100_encoder():
    from transformers import M2M100Model
    model = M2M100Model(m2m100_config()).encoder
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    return (Outputs(model, ("last_hidden_state",), ["input_ids", "attention_mask"]),
            (words(99, 2, 9), mask), [{0: "batch", 1: "length"}] * 2)


def m2m100_decoder():
    from transformers import M2M100ForConditionalGeneration
    model = M2M100ForConditionalGeneration(m2m100_config())
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    return (Seq2SeqDecoder(model.model.decoder, model.lm_head),
            (words(99, 2, 4), torch.randn(2, 9, 32), mask),
            [{0: "batch", 1: "words"}, {0: "batch", 1: "length"}, {0: "batch", 1: "length"}])


class CachedStep(nn.Module):
    """New words and the cache of all layers as plain tensors, to scores and the new
    cache. `cross` says what the encoder has made, for decoders that look there."""

    def __init__(self, model, layers, cross=False):
        super().__init__()
        self.model, self.layers, self.cross = model, layers, cross

    def forward(self, tokens, *rest):
        from transformers import DynamicCache, EncoderDecoderCache
        hidden, past = (rest[0], rest[1:]) if self.cross else (None, rest)
        cache = DynamicCache()
        for i in range(self.layers):
            cache.update(past[2 * i], past[2 * i + 1], i)
        if self.cross:
            held = EncoderDecoderCache(cache, DynamicCache())
            made = self.model(decoder_input_ids=tokens, encoder_outputs=(hidden,),
                              past_key_values=held, use_cache=True, return_dict=True)
            cache = made.past_key_values.self_attention_cache
        else:
            made = self.model(input_ids=tokens, past_key_values=cache, use_cache=True,
                              return_dict=True)
            cache = made.past_key_values
        new = [t for layer in cache.layers for t in (layer.keys, layer.values)]
        return (made.logits, *new)


def past_of(layers, heads, size, length=5, batch=2):
    tensors = tuple(torch.randn(batch, heads, length, size) for _ in range(2 * layers))
    return tensors, [{0: "batch", 2: "past"}] * (2 * layers)


def decoder(name, **more):
    """A step of two layers, with two heads of keys and values for four of queries."""
    def make():
        import transformers
        config = getattr(transformers, f"{name}Config")(
            vocab_size=99, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, **more)
        past, dims = past_of(2, 2, 8)
        model = getattr(transformers, f"{name}ForCausalLM")(config)
        return CachedStep(model, 2), (words(99, 2, 3), *past), [{0: "batch", 1: "words"}] + dims
    return make


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel
    config = GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    past, dims = past_of(2, 4, 8)
    return (CachedStep(GPT2LMHeadModel(config), 2), (words(99, 2, 3), *past),
            [{0: "batch", 1: "words"}] + dims)


def whisper_step():
    from transformers import WhisperConfig, WhisperForConditionalGeneration
    config = WhisperConfig(vocab_size=99, d_model=32, encoder_layers=1, decoder_layers=2,
                           encoder_attention_heads=4, decoder_attention_heads=4,
                           encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=8,
                           max_source_positions=20, max_target_positions=32,
                           pad_token_id=0, bos_token_id=1, eos_token_id=2,
                           decoder_start_token_id=1, suppress_tokens=None,
                           begin_suppress_tokens=None)
    past, dims = past_of(2, 4, 8)
    return (CachedStep(WhisperForConditionalGeneration(config), 2, True),
            (words(99, 2, 1), torch.randn(2, 20, 32), *past),
            [{0: "batch"}, {0: "batch"}] + dims)


def text(name, head="Model", outputs=("last_hidden_state",), **config):
    def make():
        import transformers
        model = getattr(transformers, name + head)(getattr(transformers, name + "Config")(**config))
        mask = torch.ones(2, 9, dtype=torch.int64)
        mask[1, 5:] = 0
        return (Outputs(model, outputs, ["input_ids", "attention_mask"]),
                (words(99, 2, 9), mask), [{0: "batch", 1: "length"}] * 2)
    return make


def clip():
    from transformers import CLIPConfig, CLIPModel
    part = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4}
    config = CLIPConfig(text_config={**part, "vocab_size": 99, "eos_token_id": 98,
                                     "max_position_embeddings": 16},
                        vision_config={**part, "image_size": 32, "patch_size": 8},
                        projection_dim=16)
    tokens = words(97, 2, 9)
    tokens[:, -1] = 98
    return (Outputs(CLIPModel(config), ("logits_per_image", "text_embeds"),
                    ["input_ids", "pixel_values"]),
            (tokens, torch.randn(2, 3, 32, 32)), [{0: "texts"}, {0: "images"}])


def vits():
    from transformers import VitsConfig, VitsModel
    config = VitsConfig(vocab_size=38, hidden_size=16, num_hidden_layers=2,
                        num_attention_heads=2, ffn_dim=32, flow_size=16, spectrogram_bins=33,
                        prior_encoder_num_flows=2, prior_encoder_num_wavenet_layers=2,
                        upsample_initial_channel=32, upsample_rates=[4, 4],
                        upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3],
                        resblock_dilation_sizes=[[1, 3]], depth_separable_channels=2,
                        duration_predictor_filter_channels=16, wavenet_dilation_rate=1,
                        posterior_encoder_num_wavenet_layers=2, num_separate_convs=0,
                        use_stochastic_duration_prediction=False, noise_scale=0.0,
                        noise_scale_duration=0.0)
    return (Outputs(VitsModel(config), ("waveform",), ["input_ids"]),
            (words(38, 1, 11),), [{1: "length"}])


class UNet(nn.Module):
    """Down by pooling, up by transposed convolutions and by resizing, with bridges."""

    def __init__(self, channels=8):
        super().__init__()
        def two(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(),
                                 nn.Conv2d(o, o, 3, padding=1), nn.GroupNorm(2, o), nn.SiLU())
        c = channels
        self.in_, self.mid, self.low = two(3, c), two(c, 2 * c), two(2 * c, 4 * c)
        self.up1 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2)
        self.back1, self.back2 = two(4 * c, 2 * c), two(3 * c, c)
        self.out = nn.Conv2d(c, 2, 1)

    def forward(self, x):
        a = self.in_(x)
        b = self.mid(F.max_pool2d(a, 2))
        c = self.low(F.avg_pool2d(b, 2))
        y = self.back1(torch.cat([self.up1(c), b], 1))
        y = F.interpolate(y, size=a.shape[2:], mode="bilinear", align_corners=False)
        return self.out(self.back2(torch.cat([y, a], 1)))


def unet():
    return UNet(), (torch.randn(1, 3, 32, 48),), [{0: "batch"}]


class Tagger(nn.Module):
    def __init__(self, kind, size=16):
        super().__init__()
        self.table = nn.Embedding(99, 12)
        self.layers = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](
            12, size, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * size, 5)

    def forward(self, tokens):
        y, _ = self.layers(self.table(tokens))
        return F.log_softmax(self.head(y), -1)


class PackedTagger(Tagger):
    """Sentences of different length in one batch."""

    def forward(self, tokens, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.table(tokens), lengths, True)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.layers(packed)[0], batch_first=True)
        return F.log_softmax(self.head(y), -1)


def tagger(kind):
    return lambda: (Tagger(kind), (words(99, 2, 7),), [{0: "batch", 1: "length"}])


def packed_tagger():
    return (PackedTagger("lstm"), (words(99, 3, 7), torch.tensor([7, 5, 2])),
            [{0: "batch", 1: "length"}, {0: "batch"}])


class Vocoder(nn.Module):
    """The decoder of a Kokoro-like voice: features and a style to sound, by LSTM,
    adaptive instance norm, transposed convolutions, harmonics and an inverse STFT."""

    def __init__(self, size=16, style=8, window=20, hop=5):
        super().__init__()
        self.window, self.hop = window, hop
        self.lstm = nn.LSTM(size, size // 2, batch_first=True, bidirectional=True)
        self.style1, self.style2 = nn.Linear(style, 2 * size), nn.Linear(style, size)
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(size, size, 3, padding=1))
        self.up = nn.ConvTranspose1d(size, size // 2, 8, 4, padding=2)
        self.alpha = nn.Parameter(torch.ones(1, size // 2, 1))
        self.pitch = nn.Linear(size, 1)
        self.last = nn.Conv1d(size // 2 + 1, window + 2, 7, padding=3)
        k, n = torch.arange(window // 2 + 1)[:, None], torch.arange(window)[None]
        angle = 2 * math.pi * k * n / window
        scale = torch.full((window // 2 + 1, 1), 2.0 / window)
        scale[0] = scale[-1] = 1.0 / window
        hann = torch.hann_window(window)
        self.register_buffer("real", (torch.cos(angle) * scale * hann)[:, None])
        self.register_buffer("imaginary", (-torch.sin(angle) * scale * hann)[:, None])

    def adapt(self, x, style, layer):
        gamma, beta = layer(style)[:, :, None].chunk(2, 1)
        return (1 + gamma) * F.instance_norm(x) + beta

    def forward(self, features, style):
        x, _ = self.lstm(features)
        pitch = torch.sigmoid(self.pitch(x))[:, :, 0]
        y = F.leaky_relu(self.adapt(x.transpose(1, 2), style, self.style1), 0.2)
        y = self.up(self.first(y))
        y = self.adapt(y, style, self.style2)
        y = y + (1 / self.alpha) * torch.sin(self.alpha * y) ** 2
        wave = F.interpolate(pitch[:, None], scale_factor=4.0, mode="linear")
        wave = torch.sin(2 * math.pi * torch.cumsum(wave, 2))
        y = self.last(F.pad(torch.cat([y, wave], 1), (1, 0), mode="reflect"))
        half = self.window // 2 + 1
        size, phase = torch.exp(y[:, :half].clamp(max=5)), torch.sin(y[:, half:])
        sound = F.conv_transpose1d(size * torch.cos(phase), self.real, stride=self.hop)
        return sound + F.conv_transpose1d(size * torch.sin(phase), self.imaginary,
                                          stride=self.hop)


def vocoder():
    return (Vocoder(), (torch.randn(1, 13, 16), torch.randn(1, 8)),
            [{0: "batch", 1: "frames"}, {0: "batch"}])


class Spectrum(nn.Module):
    """A log-mel front end with torch.stft."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.rand(33, 10))
        self.register_buffer("window", torch.hann_window(64))

    def forward(self, sound):
        made = torch.stft(sound, 64, 16, window=self.window, return_complex=False,
                          center=False)
        power = made.pow(2).sum(-1).transpose(1, 2)
        return torch.log(torch.clamp(power @ self.bank, min=1e-5))


def spectrum():
    return Spectrum(), (torch.randn(2, 640),), [{0: "batch"}]


class Boxes(nn.Module):
    """The end of a detector: scores above a bound, by their rank; sizes found on the way."""

    def forward(self, boxes, scores):
        best, kind = scores.max(-1)
        keep = torch.nonzero(best > 0.3)[:, 0]
        boxes, best, kind = boxes[keep], best[keep], kind[keep]
        order = torch.argsort(best, descending=True)
        return boxes[order], best[order], kind[order]


def boxes():
    return Boxes(), (torch.rand(20, 4), torch.rand(20, 3)), [{0: "boxes"}, {0: "boxes"}]


class MobileNet(nn.Module):
    """MobileNetV3-like: inverted residuals, squeeze and excitation, hard swish."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16),
                                  nn.Hardswish())
        self.blocks = nn.ModuleList(self.block(*b) for b in
                                    [(16, 16, 16, 3, 2), (16, 24, 40, 3, 1), (24, 24, 48, 5, 1),
                                     (24, 40, 96, 5, 2)])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 64),
                                  nn.Hardswish(), nn.Dropout(0.2), nn.Linear(64, 10))

    @staticmethod
    def block(inner, outer, wide, kernel, stride):
        gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, wide // 4, 1), nn.ReLU(),
                             nn.Conv2d(wide // 4, wide, 1), nn.Hardsigmoid())
        parts = nn.ModuleList([
            nn.Sequential(nn.Conv2d(inner, wide, 1, bias=False), nn.BatchNorm2d(wide),
                          nn.Hardswish(),
                          nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide,
                                    bias=False), nn.BatchNorm2d(wide), nn.Hardswish()),
            gate, nn.Sequential(nn.Conv2d(wide, outer, 1, bias=False), nn.BatchNorm2d(outer))])
        return parts

    def forward(self, x):
        x = self.stem(x)
        for wide, gate, narrow in self.blocks:
            y = wide(x)
            y = narrow(y * gate(y))
            x = x + y if x.shape == y.shape else y
        return self.head(x)


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 9, 3, padding=1)
        self.act = nn.PReLU(16)

    def forward(self, x):
        up = F.interpolate(x, scale_factor=3, mode="bicubic", align_corners=False)
        return F.pixel_shuffle(self.b(self.act(self.a(x))), 3) + up


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 64}
ARCHITECTURES = {
    "mobilenet3": lambda: (MobileNet(), image(), [{0: "batch"}]),
    "mobilenet2": vision("MobileNetV2", image_size=64, depth_multiplier=0.25),
    "efficientnet": vision("EfficientNet", image_size=64, width_coefficient=0.25,
                           depth_coefficient=0.3, hidden_dim=320),
    "convnext": vision("ConvNext", depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32]),
    "vit": vision("ViT", image_size=64, patch_size=16, **SMALL),
    "swin": vision("Swin", image_size=64, patch_size=4, embed_dim=16, depths=[2, 2],
                   num_heads=[2, 4], window_size=4),
    "detr": detr,
    "segformer": segformer,
    "unet": unet,
    "superres": lambda: (SuperResolution(), (torch.randn(1, 1, 12, 15),), [{0: "batch"}]),
    "wav2vec2": wav2vec2,
    "t5_encoder": t5_encoder,
    "t5_decoder": t5_decoder,
    "m2m100_encoder": m2m100_encoder,
    "m2m100_decoder": m2m100_decoder,
    "llama": decoder("Llama"),
    "qwen3": decoder("Qwen3", head_dim=8),
    "gpt2": gpt2,
    "whisper_step": whisper_step,
    "bert": text("Bert", vocab_size=99, **SMALL),
    "distilbert": text("DistilBert", vocab_size=99, dim=32, n_layers=2, n_heads=4,
                       hidden_dim=64),
    "albert": text("Albert", vocab_size=99, embedding_size=16, **SMALL),
    "roberta": text("Roberta", "ForSequenceClassification", ("logits",), vocab_size=99,
                    max_position_embeddings=40, **SMALL),
    "deberta": text("DebertaV2", vocab_size=99, relative_attention=True,
                    position_buckets=8, pos_att_type=["c2p", "p2c"],
                    max_position_embeddings=40, **SMALL),
    "clip": clip,
    "vits": vits,
    "vocoder": vocoder,
    "spectrum": spectrum,
    "lstm": tagger("lstm"),
    "gru": tagger("gru"),
    "rnn": tagger("rnn"),
    "lstm_packed": packed_tagger,
    "boxes": boxes,
}
