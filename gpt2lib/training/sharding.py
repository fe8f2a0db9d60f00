"""A model larger than one GPU: each process keeps a part of every weight.

PyTorch's FSDP2: a block's weights are gathered when it is computed and let go after
it, forward and backward; gradients and AdamW's moments stay divided. The losses are
those of DistributedDataParallel, which keeps a whole model in every process. torch's
modules are imported where they are used: they take 0.7 s.
"""

import torch

from gpt2lib.config import GPTConfig
from gpt2lib.model import GPTModel
from gpt2lib.training.loss import training_memory
from gpt2lib.training.state import copied, is_sharded


def check_several(count: int) -> None:
    """Raises ValueError unless there are several processes to shard over."""
    if count == 1:
        raise ValueError(
            "a model is sharded over several processes, but this is the only one: "
            "start with torchrun, or leave out --shard"
        )


def sharded_memory(cfg: GPTConfig, count: int) -> int:
    """Bytes that training takes in each of `count` processes, without activations.

    A part of what `training_memory` counts; and whole, with gradients, what is gathered
    at a time: the embeddings with the output head, and two blocks.
    """
    block = 12 * cfg.emb_dim**2 + 13 * cfg.emb_dim
    gathered = cfg.n_params - (cfg.n_layers - 2) * block
    return training_memory(cfg) // count + 2 * 4 * gathered


def shard(model: GPTModel, count: int, compiled: bool = False) -> None:
    """Divides a model over `count` processes, in place; all must hold the same weights.

    Args:
        compiled: use torch.compile on each block, since it is gathered on its own.

    Raises:
        ValueError: there is one process only.
    """
    check_several(count)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(model.device.type, (count,))
    for block in model.trf_blocks:
        if compiled:
            block.forward = torch.compile(block.forward)  # type: ignore[assignment]
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "hidden_states")  # as training calls it


def split_like(own: torch.Tensor | None, whole: torch.Tensor) -> torch.Tensor:
    """This process's part of a whole tensor, if its `own` one is sharded."""
    if own is None or not is_sharded(own):
        return whole
    from torch.distributed.tensor import distribute_tensor

    whole = whole.to(own.device, copy=True)
    return distribute_tensor(whole, own.device_mesh, own.placements, src_data_rank=None)


def in_one_piece(model: GPTModel, is_first: bool) -> GPTModel | None:
    """The model, a sharded one as a plain one on the CPU; all processes must call this.

    Returns: None in all processes but the first.
    """
    if not any(map(is_sharded, model.parameters())):
        return model if is_first else None
    weights = copied(model.state_dict(), keep=is_first)
    if not is_first:
        return None
    with torch.device("meta"):
        plain = GPTModel(model.cfg)
    plain.load_state_dict(weights, assign=True)
    plain.tie_head()
    return plain
