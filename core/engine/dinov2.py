"""DINOv2 vision transformers (Oquab et al., 2024) with the published names: ViT-S/14, B/14, L/14, also with registers.

Written from the architecture: patches of 14 px, a class token, a learnt position embedding, blocks of attention and an MLP
that a LayerScale shrinks, a last LayerNorm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.weights import check_state, read_state
from core.errors import WeightsError

HEAD_WIDTH = 64
_EPS = 1e-6
_OFFSET = 0.1  # px; the published networks without registers stretch their position embedding by it
_SIZES = {384: "ViT-S", 768: "ViT-B", 1024: "ViT-L"}
_BLOCK = re.compile(r"blocks\.(\d+)\.norm1\.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class DinoConfig:
    """Shape of a backbone: ``width`` of a token, ``depth`` blocks, ``grid`` x ``grid`` positions learnt, ``patch`` px."""

    width: int = 384
    depth: int = 12
    num_registers: int = 0
    grid: int = 37
    patch: int = 14

    def __post_init__(self) -> None:
        if self.width < HEAD_WIDTH or self.width % HEAD_WIDTH or min(self.depth, self.grid, self.patch) < 1:
            raise ValueError(f"{self}: expected a width that is a multiple of {HEAD_WIDTH}, and positive sizes")

    @property
    def title(self) -> str:
        registers = f", {self.num_registers} registers" if self.num_registers else ""
        return f"DINOv2 {_SIZES.get(self.width, f'width {self.width}')}/{self.patch}{registers}"


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // HEAD_WIDTH
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        query, key, value = self.qkv(x).view(count, tokens, 3, self.num_heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.attn, self.mlp = Attention(width), MLP(width)
        self.ls1, self.ls2 = LayerScale(width), LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class DinoV2(nn.Module):
    """Pixels (N, 3, H, W), RGB normalised as for ImageNet, to patch features."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of its training only; the files hold it
        if config.num_registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, config.num_registers, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, config.patch, config.patch)})
        self.blocks = nn.ModuleList(Block(width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, width, H / patch, W / patch), after the last norm; H and W are multiples of the patch."""
        patches = self.patch_embed["proj"](x)
        rows, columns = patches.shape[2:]
        tokens = patches.flatten(2).transpose(1, 2) + self._positions(rows, columns)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        registers = [self.register_tokens.expand(len(x), -1, -1)] if self.config.num_registers else []
        tokens = torch.cat([first, *registers, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        kept = self.norm(tokens)[:, 1 + self.config.num_registers :]
        return kept.transpose(1, 2).reshape(len(x), -1, rows, columns)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """The position embedding (1, rows * columns, width), resized from its own grid as the published code does it:
        bicubic; with registers to the size and smoothed where it shrinks, without them by a factor that is 0.1 px too large.
        """
        grid = self.config.grid
        own = self.pos_embed[:, 1:]
        if (rows, columns) == (grid, grid):
            return own
        plane = own.float().reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        if self.config.num_registers:
            resized = F.interpolate(plane, (rows, columns), mode="bicubic", antialias=True)
        else:
            factors = ((rows + _OFFSET) / grid, (columns + _OFFSET) / grid)
            resized = F.interpolate(plane, scale_factor=factors, mode="bicubic")
        return resized.flatten(2).transpose(1, 2).to(own.dtype)


def is_dinov2(names: object) -> bool:
    """Whether these are the names of a DINOv2 backbone's tensors."""
    return {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= set(names)


def load_dinov2(path: str | Path) -> DinoV2:
    """Load a backbone from a published ``.pth`` (or the same as safetensors), in eval mode on the CPU, f32.

    Its shape is read from the weights. Raises FileNotFoundError, or WeightsError that says what does not fit.
    """
    path = Path(path)
    state = read_state(path)[0]
    config = dinov2_config(path, state)
    with torch.device("meta"):
        network = DinoV2(config)
    check_state(path, network, state, config.title)
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def dinov2_config(path: Path, state: dict[str, Tensor]) -> DinoConfig:
    """Read a backbone's shape from its tensors' shapes. Raises WeightsError for tensors of something else."""
    if not is_dinov2(state):
        raise WeightsError(f"{path}: not a DINOv2 backbone; its keys are {', '.join(list(state)[:4]) or 'none'} ...")
    if any(".mlp.w12." in name for name in state):
        raise WeightsError(f"{path}: a DINOv2 ViT-g, whose gated MLP is not supported; expected ViT-S, ViT-B or ViT-L")
    positions, patches = state["pos_embed"], state["patch_embed.proj.weight"]
    registers = state.get("register_tokens")
    shapes = (positions.ndim, patches.ndim, 3 if registers is None else registers.ndim)
    if shapes != (3, 4, 3):
        raise WeightsError(f"{path}: position embedding, patches, registers have {shapes} dimensions, expected (3, 4, 3)")
    depth = 1 + max(int(found[1]) for name in state if (found := _BLOCK.fullmatch(name)))
    if depth > len(state):
        raise WeightsError(f"{path}: names block {depth - 1}, but holds only {len(state)} tensors")
    try:
        return DinoConfig(
            width=positions.shape[2],
            depth=depth,
            num_registers=0 if registers is None else registers.shape[1],
            grid=isqrt(max(0, positions.shape[1] - 1)),
            patch=patches.shape[3],
        )
    except ValueError as error:
        raise WeightsError(f"{path}: not a DINOv2 backbone ({error})") from error
