# SPDX-License-Identifier: MIT
"""TCM's P-frame codec as published, 10.7 million parameters.

x, reference --SpyNet--> flow --motion codec--> decoded flow
reference's features --three scales, warped, fused--> contexts C1, C2, C3                   temporal context mining
x, contexts --ContextualEncoder--> y --tape, given hyperprior and contexts--> y_hat
y_hat, contexts --ContextualDecoder--> FrameGenerator --> frame, and the features for the next one
Source: Sheng et al., "Temporal context mining for learned video compression", 2022.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import Prior, Tape
from ncm import warp

from .config import Reference
from .intra import activated
from .layers import GDN, ResBlock, conv3x3, deconv, subpel_conv3x3
from .tables import ScalarDensity, laplace_tables

MOTION, FEATURES, LATENTS, HYPER = 128, 64, 96, 64  # channels
Contexts = tuple[Tensor, Tensor, Tensor]


class FlowLevel(nn.Module):
    """What one scale adds to a flow, from (B,8,h,w): current picture, warped reference, flow so far."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 32, 64, 32, 16, 2)
        for n in range(5):
            self.add_module(f"conv{n + 1}", nn.Conv2d(widths[n], widths[n + 1], 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        for n in range(1, 5):
            x = F.relu(self.get_submodule(f"conv{n}")(x))
        return self.get_submodule("conv5")(x)


class SpyNet(nn.Module):
    """Flow (B,2,H,W) in pixels from current to reference, from coarse to fine over four halvings by means."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(FlowLevel() for _ in range(4))

    def forward(self, current: Tensor, reference: Tensor) -> Tensor:
        pyramid = [(current, reference)]
        for _ in self.levels[1:]:
            pyramid.append((F.avg_pool2d(pyramid[-1][0], 2), F.avg_pool2d(pyramid[-1][1], 2)))
        coarsest = pyramid[-1][0]
        flow = coarsest.new_zeros(len(coarsest), 2, coarsest.shape[2] // 2, coarsest.shape[3] // 2)
        for level, (a, b) in zip(self.levels, reversed(pyramid), strict=True):
            flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)
            flow = flow + level(torch.cat([a, warp(b, flow), flow], 1))
        return flow


class FeatureExtractor(nn.Module):
    """Features at 1/1, 1/2 and 1/4 of those of the reference."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.res_block1 = conv3x3(FEATURES, FEATURES), ResBlock(FEATURES)
        self.conv2, self.res_block2 = conv3x3(FEATURES, FEATURES, stride=2), ResBlock(FEATURES)
        self.conv3, self.res_block3 = conv3x3(FEATURES, FEATURES, stride=2), ResBlock(FEATURES)

    def forward(self, feature: Tensor) -> Contexts:
        first = self.res_block1(self.conv1(feature))
        second = self.res_block2(self.conv2(first))
        return first, second, self.res_block3(self.conv3(second))


class ContextFusion(nn.Module):
    """Warped features of three scales, each with what the coarser ones know added."""

    def __init__(self) -> None:
        super().__init__()
        width = FEATURES
        self.conv3_up, self.res_block3_up = subpel_conv3x3(width, width, 2), ResBlock(width)
        self.conv3_out, self.res_block3_out = conv3x3(width, width), ResBlock(width)
        self.conv2_up, self.res_block2_up = subpel_conv3x3(2 * width, width, 2), ResBlock(width)
        self.conv2_out, self.res_block2_out = conv3x3(2 * width, width), ResBlock(width)
        self.conv1_out, self.res_block1_out = conv3x3(2 * width, width), ResBlock(width)

    def forward(self, first: Tensor, second: Tensor, third: Tensor) -> Contexts:
        up_third = self.res_block3_up(self.conv3_up(third))
        joined = torch.cat([up_third, second], 1)
        up_second = self.res_block2_up(self.conv2_up(joined))
        return (
            first + self.res_block1_out(self.conv1_out(torch.cat([up_second, first], 1))),
            second + self.res_block2_out(self.conv2_out(joined)),
            third + self.res_block3_out(self.conv3_out(third)),
        )


def bottleneck() -> ResBlock:
    """The residual block behind a context of the contextual encoder and decoder."""
    return ResBlock(2 * FEATURES, slope=0.1, before=False, after=True, bottleneck=True)


class ContextualEncoder(nn.Module):
    """Latents (B,96,H/16,W/16) of a picture given its contexts."""

    def __init__(self) -> None:
        super().__init__()
        width = FEATURES
        self.conv1, self.gdn1 = conv3x3(3 + width, width, stride=2), GDN(width)
        self.res1 = bottleneck()
        self.conv2, self.gdn2 = conv3x3(2 * width, width, stride=2), GDN(width)
        self.res2 = bottleneck()
        self.conv3, self.gdn3 = conv3x3(2 * width, width, stride=2), GDN(width)
        self.conv4 = conv3x3(width, LATENTS, stride=2)

    def forward(self, x: Tensor, contexts: Contexts) -> Tensor:
        first, second, third = contexts
        x = self.gdn1(self.conv1(torch.cat([x, first], 1)))
        x = self.gdn2(self.conv2(self.res1(torch.cat([x, second], 1))))
        return self.conv4(self.gdn3(self.conv3(self.res2(torch.cat([x, third], 1)))))


class ContextualDecoder(nn.Module):
    """Features (B,32,H,W) of a picture from its latents and contexts."""

    def __init__(self) -> None:
        super().__init__()
        width = FEATURES
        self.up1, self.gdn1 = subpel_conv3x3(LATENTS, width, 2), GDN(width, inverse=True)
        self.up2, self.gdn2 = subpel_conv3x3(width, width, 2), GDN(width, inverse=True)
        self.res1 = bottleneck()
        self.up3, self.gdn3 = subpel_conv3x3(2 * width, width, 2), GDN(width, inverse=True)
        self.res2 = bottleneck()
        self.up4 = subpel_conv3x3(2 * width, 32, 2)

    def forward(self, y: Tensor, contexts: Contexts) -> Tensor:
        _, second, third = contexts
        x = self.gdn2(self.up2(self.gdn1(self.up1(y))))
        x = self.gdn3(self.up3(self.res1(torch.cat([x, third], 1))))
        return self.up4(self.res2(torch.cat([x, second], 1)))


class TemporalPrior(nn.Module):
    """What the contexts say of the latents: (B,192,H/16,W/16)."""

    def __init__(self) -> None:
        super().__init__()
        width, second, third = FEATURES, LATENTS, LATENTS * 3 // 2
        self.conv1, self.gdn1 = conv3x3(width, width, stride=2), GDN(width)
        self.conv2, self.gdn2 = conv3x3(2 * width, second, stride=2), GDN(second)
        self.conv3, self.gdn3 = conv3x3(second + width, third, stride=2), GDN(third)
        self.conv4 = conv3x3(third, 2 * LATENTS, stride=2)

    def forward(self, contexts: Contexts) -> Tensor:
        first, second, third = contexts
        x = self.gdn1(self.conv1(first))
        x = self.gdn2(self.conv2(torch.cat([x, second], 1)))
        return self.conv4(self.gdn3(self.conv3(torch.cat([x, third], 1))))


class FrameGenerator(nn.Module):
    """The picture, and the features (B,64,H,W) it is made of, which the next one is coded from."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_conv = nn.Sequential(conv3x3(32 + FEATURES, FEATURES), ResBlock(FEATURES), ResBlock(FEATURES))
        self.recon_conv = conv3x3(FEATURES, 3)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.feature_conv(torch.cat([x, context], 1))
        return self.recon_conv(feature), feature


class PaperInter(nn.Module):
    """An InterCodec; the network knows one quality."""

    def __init__(self) -> None:
        super().__init__()
        self.search = SpyNet()
        self.motion_encoder = motion_encoder()
        self.motion_hyper_encoder = hyper_encoder(MOTION)
        self.motion_hyper_decoder = activated(deconv(HYPER, MOTION), deconv(MOTION, 192), deconv(192, 2 * MOTION, 1))
        self.motion_decoder = motion_decoder()
        self.adaptor_i, self.adaptor_p = conv3x3(3, FEATURES), nn.Conv2d(FEATURES, FEATURES, 1)
        self.extractor, self.fusion = FeatureExtractor(), ContextFusion()
        self.encoder, self.decoder = ContextualEncoder(), ContextualDecoder()
        self.hyper_encoder = hyper_encoder(LATENTS)
        self.hyper_decoder = activated(deconv(HYPER, LATENTS), deconv(LATENTS, 144), deconv(144, 2 * LATENTS, 1))
        self.temporal_prior = TemporalPrior()
        self.parameters_net = activated(conv3x3(4 * LATENTS, 320), conv3x3(320, 256), conv3x3(256, 2 * LATENTS))
        self.generator = FrameGenerator()
        self.density, self.motion_density = ScalarDensity(HYPER), ScalarDensity(HYPER)
        self.tables = laplace_tables()

    def forward(self, tape: Tape, x: Tensor | None, reference: Reference, *, quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W), and the features for the next ones."""
        flow = self._code_motion(tape, x, reference.frame)
        contexts = self._contexts(reference, flow)
        y = None if x is None else self.encoder(x, contexts)
        hyper = self.hyper_decoder(self._code_hyper(tape, "inter.z", y, self.hyper_encoder, self.density, flow))
        parameters = self.parameters_net(torch.cat([self.temporal_prior(contexts), hyper], 1))
        y_hat = self._code_latent(tape, "inter.y", y, parameters)
        frame, feature = self.generator(self.decoder(y_hat, contexts), contexts[0])
        return Reference(frame.float().clamp(0, 1), feature, warp(reference.frame, flow))

    def _code_motion(self, tape: Tape, x: Tensor | None, past: Tensor) -> Tensor:
        """The decoded flow (B,2,H,W) in pixels, from the current pictures x to `past`; x is None where it is read."""
        y = None if x is None else self.motion_encoder(self.search(x, past))
        z_hat = self._code_hyper(tape, "motion.z", y, self.motion_hyper_encoder, self.motion_density, past)
        return self.motion_decoder(self._code_latent(tape, "motion.y", y, self.motion_hyper_decoder(z_hat)))

    @staticmethod
    def _code_hyper(
        tape: Tape, name: str, y: Tensor | None, encoder: nn.Module, density: ScalarDensity, full: Tensor
    ) -> Tensor:
        """The decoded hyper-latents for pictures of the size of `full`."""
        mean = density.medians().expand(len(full), -1, full.shape[2] // 64, full.shape[3] // 64)
        z = None if y is None else encoder(y)
        return tape.code(name, z, Prior(mean, density.positions(mean.shape), density)).value

    def _code_latent(self, tape: Tape, name: str, y: Tensor | None, parameters: Tensor) -> Tensor:
        scale, mean = parameters.chunk(2, 1)
        return tape.code(name, y, Prior(mean, self.tables.position_of(scale), self.tables)).value

    def _contexts(self, reference: Reference, flow: Tensor) -> Contexts:
        """The features of the reference in three scales, brought to the current picture's place and fused."""
        feature = reference.feature
        feature = self.adaptor_i(reference.frame) if feature is None else self.adaptor_p(feature)
        warped = []
        for part in self.extractor(feature):
            warped.append(warp(part, flow))
            flow = F.interpolate(flow, scale_factor=0.5, mode="bilinear", align_corners=False) / 2
        return self.fusion(*warped)


def motion_encoder() -> nn.Sequential:
    """The analysis transform of motion: a module from flow (B,2,H,W) in pixels to latents (B,128,H/16,W/16)."""
    parts: list[nn.Module] = []
    for channels in (2, MOTION, MOTION):
        parts += [conv3x3(channels, MOTION, stride=2), GDN(MOTION), ResBlock(MOTION, before=False), nn.LeakyReLU(0.1)]
    return nn.Sequential(*parts, conv3x3(MOTION, MOTION, stride=2))


def motion_decoder() -> nn.Sequential:
    """The synthesis transform of motion: a module from latents (B,128,H/16,W/16) to flow (B,2,H,W) in pixels."""
    return nn.Sequential(
        deconv(MOTION, MOTION),
        nn.LeakyReLU(0.1),
        ResBlock(MOTION, before=False),
        GDN(MOTION, inverse=True),
        deconv(MOTION, MOTION),
        GDN(MOTION, inverse=True),
        deconv(MOTION, MOTION),
        GDN(MOTION, inverse=True),
        deconv(MOTION, 2),
    )


def hyper_encoder(channels: int) -> nn.Sequential:
    """Latents (B,channels,h,w) -> hyper-latents (B,64,h/4,w/4)."""
    return activated(conv3x3(channels, HYPER), conv3x3(HYPER, HYPER, stride=2), conv3x3(HYPER, HYPER, stride=2))
