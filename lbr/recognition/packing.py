"""Convolutions whose weights lie, once and for all, as oneDNN reads them on a CPU, and that do what follows them too.

Of one image's time much goes into bringing weights into that order, at every call. torch.compile does the same after a
minute of compiling, and needs a compiler; the operators are its.
"""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

_ADDS = {operator.add, operator.iadd, torch.add}


class PackedConvolution(nn.Module):
    """A convolution for inputs of about [N, C, H, W] `size`; `then_relu`: with the ReLU that follows it."""

    def __init__(self, convolution: nn.Conv2d, size: list[int], then_relu: bool) -> None:
        super().__init__()
        self._how = (
            list(convolution.padding), list(convolution.stride), list(convolution.dilation), convolution.groups,
        )  # fmt: skip
        weight = convolution.weight.detach()
        self._weight = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]  # of its stubs
            weight.to_mkldnn(), *self._how, size
        )
        self._bias = None if convolution.bias is None else convolution.bias.detach()
        self._then = "relu" if then_relu else "none"

    def forward(self, x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """added: what is added to the result, in its shape, before the ReLU."""
        run, given = torch.ops.mkldnn._convolution_pointwise, (self._weight, self._bias, *self._how)
        if added is None:
            return run(x, *given, self._then, [], "")
        return run.binary(x, added, *given, "add", 1.0, self._then, [], "")


def can_pack(number: torch.dtype, device: str) -> bool:
    """Whether this machine and this torch have the operators, for weights of that number format."""
    if torch.device(device).type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    wanted = ((torch.ops.mkldnn, "_convolution_pointwise"), (torch._C._nn, "mkldnn_reorder_conv2d_weight"))
    if not all(hasattr(holder, name) for holder, name in wanted):
        return False
    return number == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(network: nn.Module, example: torch.Tensor) -> int:
    """Replace the convolutions in the parts that torch.fx has followed; their number.

    example: an input of the network of the size it will be used with.
    """
    inputs: dict[fx.GraphModule, tuple[Any, ...]] = {}
    parts = [module for module in network.modules() if isinstance(module, fx.GraphModule)]
    hooks = [part.register_forward_pre_hook(lambda own, given: inputs.__setitem__(own, given)) for part in parts]
    network(example)
    for hook in hooks:
        hook.remove()
    return sum(_pack_part(part, inputs[part]) for part in parts if part in inputs)


def _pack_part(part: fx.GraphModule, inputs: tuple[Any, ...]) -> int:
    ShapeProp(part).propagate(*inputs)
    modules = dict(part.named_modules())
    uses = Counter(node.target for node in part.graph.nodes if node.op == "call_module")
    packed = 0
    for node in list(part.graph.nodes):
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if uses[node.target] == 1 and isinstance(module, nn.Conv2d) and _is_plain(module):
            _replace(part, node, module, modules)
            packed += 1
    part.recompile()
    return packed


def _replace(part: fx.GraphModule, node: fx.Node, module: nn.Conv2d, modules: dict[str, nn.Module]) -> None:
    """A convolution, with the ReLU that alone follows it, and what is added between them."""
    added = _added_after(node)
    last = node if added is None else next(iter(node.users))
    relu = _only_user(last)
    has_relu = relu is not None and relu.op == "call_module" and isinstance(modules.get(str(relu.target)), nn.ReLU)
    if added is not None and not has_relu:
        added, last = None, node
    part.set_submodule(str(node.target), PackedConvolution(module, list(_shape(node.args[0])), has_relu))
    if relu is None or not has_relu:
        return
    done = node
    if added is not None:
        with part.graph.inserting_after(last):
            done = part.graph.call_module(str(node.target), (node.args[0], added))
        done.meta = dict(relu.meta)
    relu.replace_all_uses_with(done)
    for gone in (relu, last, node):
        if gone is not done and not gone.users:
            part.graph.erase_node(gone)


def _added_after(node: fx.Node) -> fx.Node | None:
    """What is added, in the same shape, to the result of a node that nothing else uses."""
    follower = _only_user(node)
    if follower is None or follower.op != "call_function" or follower.target not in _ADDS:
        return None
    others = [argument for argument in follower.args if isinstance(argument, fx.Node) and argument is not node]
    return others[0] if len(others) == 1 and _shape(others[0]) == _shape(node) else None


def _shape(node: Any) -> torch.Size:
    return node.meta["tensor_meta"].shape


def _is_plain(module: nn.Conv2d) -> bool:
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
