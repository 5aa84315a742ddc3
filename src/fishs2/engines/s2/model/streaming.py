"""Causal layers that remember: convolutions and windowed attention over a stream in pieces.

A stream of B rows has one `StreamState`, owned by the caller. Every layer joins what it remembers
with the new piece, so nothing is computed twice and the pieces add up to the whole. A fresh state
is all zeros and position 0, which is exactly the zero padding of the official layers (spec 7.1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fishs2.engines.s2.model.layers import Attention, FeedForward, RmsNorm, rope_table
from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.weights.config import TransformerConfig


@dataclass(slots=True, eq=False)
class Window:
    """What a stack of windowed blocks remembers. The tensors are replaced, never written.

    keys, values: per layer [B, H, window - 1, d], the latest last; entries before position 0 may
    hold anything. position: int64 [B], tokens seen so far.
    """

    keys: list[Tensor]
    values: list[Tensor]
    position: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """What a stream remembers, by the name of the layer.

    tails: [B, C, n], the last inputs of a convolution. windows: of transformers.
    """

    tails: dict[str, Tensor]
    windows: dict[str, Window]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One pass over a piece. active: bool [B], rows that advance; None when all do.

    The output of a row that does not advance means nothing, and its state stays as it was.
    """

    state: StreamState
    active: Tensor | None = None

    def join(self, name: str, x: Tensor) -> Tensor:
        """The remembered inputs and x, [B, C, n + T]; remembers the last n of them."""
        tail = self.state.tails[name]
        joined = torch.cat((tail, x), dim=-1)
        self.state.tails[name] = self.keep(tail, joined[..., -tail.shape[-1] :])
        return joined

    def keep(self, old: Tensor, new: Tensor) -> Tensor:
        """The new memory of active rows, the old one of others."""
        if self.active is None:
            return new.clone()  # a view would hold the whole piece
        return torch.where(self.active.view(-1, *[1] * (new.dim() - 1)), new, old)


class CausalConv(nn.Module):
    """Convolution that sees the past only. x: [B, C_in, T], T a multiple of the stride."""

    def __init__(
        self,
        load: Loader,
        name: str,
        shape: tuple[int, int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        """shape: of the weight, [out, in / groups, kernel]."""
        super().__init__()
        num_out, num_in, kernel = shape
        self.name, self.stride, self.dilation, self.groups = name, stride, dilation, groups
        self.weight = load.vector(f"{name}.weight", shape)
        self.bias = load.vector(f"{name}.bias", (num_out,))
        self.tail_shape = (num_in * self.groups, (kernel - 1) * dilation + 1 - stride)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        if self.tail_shape[1]:
            x = step.join(self.name, x)
        return F.conv1d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
        )


class CausalConvTranspose(nn.Module):
    """Transposed convolution with s outputs per input. Kernel s or 2 s; x: [B, C_in, T]."""

    def __init__(
        self, load: Loader, name: str, shape: tuple[int, int, int], *, stride: int
    ) -> None:
        """shape: of the weight, [in, out, kernel]."""
        super().__init__()
        num_in, num_out, kernel = shape
        self.name, self.stride = name, stride
        self.weight = load.vector(f"{name}.weight", shape)
        self.bias = load.vector(f"{name}.bias", (num_out,))
        self.tail_shape = (num_in, kernel // stride - 1)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        num_new = x.shape[-1] * self.stride
        start = self.tail_shape[1] * self.stride
        if start:
            x = step.join(self.name, x)
        y = F.conv_transpose1d(x, self.weight, self.bias, stride=self.stride)
        return y[..., start : start + num_new]


class Snake(nn.Module):
    """x + sin(alpha x)^2 / (alpha + 1e-9), alpha per channel."""

    def __init__(self, load: Loader, name: str, num_channels: int) -> None:
        super().__init__()
        self.alpha = load.vector(f"{name}.alpha", (1, num_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcdiv(x, torch.sin(self.alpha * x).square_(), self.alpha + 1e-9)


class ResUnit(nn.Module):
    """x + Conv1(Snake(Conv7(Snake(x))))."""

    def __init__(self, load: Loader, name: str, num_channels: int, *, dilation: int) -> None:
        super().__init__()
        wide, narrow = (num_channels, num_channels, 7), (num_channels, num_channels, 1)
        self.snake_in = Snake(load, f"{name}.block.0", num_channels)
        self.conv_in = CausalConv(load, f"{name}.block.1.conv", wide, dilation=dilation)
        self.snake_out = Snake(load, f"{name}.block.2", num_channels)
        self.conv_out = CausalConv(load, f"{name}.block.3.conv", narrow)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        y = self.conv_in(self.snake_in(x), step)
        out: Tensor = x + self.conv_out(self.snake_out(y), step)
        return out


class ConvNeXt(nn.Module):
    """Depthwise convolution and a two-layer network per position, added to x."""

    def __init__(self, load: Loader, name: str, num_channels: int) -> None:
        super().__init__()
        c = num_channels
        self.depthwise = CausalConv(load, f"{name}.dwconv.conv", (c, 1, 7), groups=c)
        self.norm_weight = load.vector(f"{name}.norm.weight", (c,))
        self.norm_bias = load.vector(f"{name}.norm.bias", (c,))
        self.weight_in = load.vector(f"{name}.pwconv1.weight", (4 * c, c))
        self.bias_in = load.vector(f"{name}.pwconv1.bias", (4 * c,))
        self.weight_out = load.vector(f"{name}.pwconv2.weight", (c, 4 * c))
        self.bias_out = load.vector(f"{name}.pwconv2.bias", (c,))
        self.gamma = load.vector(f"{name}.gamma", (c,))

    def forward(self, x: Tensor, step: Step) -> Tensor:
        y = self.depthwise(x, step).transpose(1, 2)  # [B, C, T] -> [B, T, C]
        y = F.layer_norm(y, y.shape[-1:], self.norm_weight, self.norm_bias, eps=1e-6)
        y = F.linear(F.gelu(F.linear(y, self.weight_in, self.bias_in)), self.weight_out)
        return x + ((y + self.bias_out) * self.gamma).transpose(1, 2)


class WindowBlock(nn.Module):
    """Block with layer scales, of which a query sees a window of positions."""

    def __init__(self, config: TransformerConfig, load: Loader, prefix: str) -> None:
        super().__init__()
        shape, eps = (config.dim,), config.norm_eps
        self.attention = Attention(config, load, f"{prefix}.attention")
        self.feed_forward = FeedForward(config, load, f"{prefix}.feed_forward")
        self.attention_norm = RmsNorm(load.vector(f"{prefix}.attention_norm.weight", shape), eps)
        self.ffn_norm = RmsNorm(load.vector(f"{prefix}.ffn_norm.weight", shape), eps)
        self.attention_scale = load.vector(f"{prefix}.attention_layer_scale.gamma", shape)
        self.ffn_scale = load.vector(f"{prefix}.ffn_layer_scale.gamma", shape)


class WindowTransformer(nn.Module):
    """Blocks with a final norm over a stream. x: float32 [B, D, T]."""

    def __init__(self, config: TransformerConfig, load: Loader, name: str) -> None:
        super().__init__()
        assert config.window is not None
        self.name, self.config, self.window = name, config, config.window
        self.layers = nn.ModuleList(
            WindowBlock(config, load, f"{name}.layers.{index}")
            for index in range(config.num_layers)
        )
        self.norm = RmsNorm(load.vector(f"{name}.norm.weight", (config.dim,)), config.norm_eps)
        self.rope: Tensor
        self.register_buffer("rope", rope_table(config, load.device))

    def forward(self, x: Tensor, step: Step) -> Tensor:
        memory = step.state.windows[self.name]
        x = x.transpose(1, 2)  # [B, D, T] -> [B, T, D]
        num_new, num_old = x.shape[1], self.window - 1
        positions = memory.position[:, None] + torch.arange(num_new, device=x.device)
        columns = torch.arange(-num_old, num_new, device=x.device)
        sources = memory.position[:, None] + columns  # [B, num_old + T]
        distance = positions[:, :, None] - sources[:, None]  # [B, T, num_old + T]
        written = (sources >= 0)[:, None, :, None]
        mask = (distance >= 0) & (distance < self.window) & (sources >= 0)[:, None]
        rope = self.rope[positions]
        for index, block in enumerate(self.layers):
            assert isinstance(block, WindowBlock)
            q, k, v = block.attention.project(block.attention_norm(x), rope)
            keys = torch.cat((memory.keys[index], k), dim=2)
            values = torch.cat((memory.values[index], v), dim=2)
            memory.keys[index] = step.keep(memory.keys[index], keys[:, :, num_new:])
            memory.values[index] = step.keep(memory.values[index], values[:, :, num_new:])
            # A weight of zero times an unset value may still be NaN.
            keys, values = keys.where(written, 0), values.where(written, 0)
            x = x + block.attention_scale * block.attention.mix(q, keys, values, mask[:, None])
            x = x + block.ffn_scale * block.feed_forward(block.ffn_norm(x))
        memory.position = step.keep(memory.position, memory.position + num_new)
        normed: Tensor = self.norm(x)
        return normed.transpose(1, 2)


def new_state(module: nn.Module, num_rows: int, device: torch.device) -> StreamState:
    """The state of a stream that starts. module: anything built of the layers above."""
    tails: dict[str, Tensor] = {}
    windows: dict[str, Window] = {}
    for layer in module.modules():
        if isinstance(layer, CausalConv | CausalConvTranspose) and layer.tail_shape[1]:
            tails[layer.name] = torch.zeros(num_rows, *layer.tail_shape, device=device)
        if isinstance(layer, WindowTransformer):
            config = layer.config
            shape = (num_rows, config.num_kv_heads, layer.window - 1, config.head_dim)
            windows[layer.name] = Window(
                [torch.zeros(shape, device=device) for _ in range(config.num_layers)],
                [torch.zeros(shape, device=device) for _ in range(config.num_layers)],
                torch.zeros(num_rows, dtype=torch.int64, device=device),
            )
    return StreamState(tails, windows)


def reset_rows(state: StreamState, rows: Tensor | int) -> None:
    """Start some rows anew, in place. rows: one, int64 [n] or bool [B].

    Keys and values stay; position 0 hides them.
    """
    for tail in state.tails.values():
        tail[rows] = 0
    for window in state.windows.values():
        window.position[rows] = 0


def take_rows(state: StreamState, rows: Tensor) -> StreamState:
    """A copy of some rows. rows: int64 [n]."""
    return StreamState(
        {name: tail[rows] for name, tail in state.tails.items()},
        {
            name: Window(
                [each[rows] for each in window.keys],
                [each[rows] for each in window.values],
                window.position[rows],
            )
            for name, window in state.windows.items()
        },
    )


def put_rows(state: StreamState, rows: Tensor, taken: StreamState) -> None:
    """Put back what `take_rows` took, in place."""
    for old, new in zip(state_tensors(state), state_tensors(taken), strict=True):
        old[rows] = new


def state_tensors(state: StreamState) -> Iterator[Tensor]:
    """All tensors of a state, for accounting and tests."""
    yield from state.tails.values()
    for window in state.windows.values():
        yield from (*window.keys, *window.values, window.position)
