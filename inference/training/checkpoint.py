"""What a training needs to go on after an interruption: weights, their mean, optimiser, losses; as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from inference.errors import WeightsRefused

SMOOTHING = 0.98
LOSS_EVERY = 20
"""Steps between losses that are kept."""
_MODEL, _MEAN, _OPTIMISER = "model.", "mean.", "optimiser."


@dataclass(frozen=True)
class TrainingIdentity:
    """Of which training a checkpoint is.

    Attributes
    ----------
    digest
        of everything that must not change between the parts of one training.
    told
        the same for people: what is learnt from, and each setting.
    """

    digest: str
    told: Mapping[str, str]


@dataclass
class History:
    """What became of a training so far.

    Attributes
    ----------
    step
        done.
    loss
        smoothed over the last fifty or so.
    losses
        (step, loss) now and then.
    judged
        (step, AP@0.50 on what is held out).
    """

    step: int = 0
    loss: float | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)
    judged: list[tuple[int, float]] = field(default_factory=list)

    def add_loss(self, loss: float) -> float:
        """Take in the loss of the step done; the smoothed one."""
        self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        if self.step % LOSS_EVERY == 0:
            self.losses.append((self.step, self.loss))
        return self.loss

    def add_judgement(self, ap50: float | None) -> bool:
        """Take in a judgement after the step done; whether none before it was better."""
        if ap50 is None:
            return True
        best = all(ap50 >= before for _, before in self.judged)
        self.judged.append((self.step, ap50))
        return best

    def judgements_since_best(self) -> int:
        """How many judgements followed the best one."""
        latest_first = [value for _, value in reversed(self.judged)]
        return latest_first.index(max(latest_first)) if latest_first else 0


def to_bytes(
    model: nn.Module,
    mean: AveragedModel,
    optimiser: torch.optim.Optimizer,
    history: History,
    identity: TrainingIdentity,
) -> bytes:
    """Safetensors of a training.

    Parameters
    ----------
    mean
        of the model over the last steps.
    """
    tensors = {_MODEL + name: value.contiguous() for name, value in model.state_dict().items()}
    tensors |= {_MEAN + name: value.contiguous() for name, value in mean.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{_OPTIMISER}{number}.{name}": value.contiguous() for name, value in state.items()}
    metadata = {"identity": identity.digest, "told": json.dumps(dict(identity.told))}
    return safetensors.torch.save(tensors, metadata | {"history": json.dumps(asdict(history))})


@dataclass(frozen=True)
class Checkpoint:
    """Where a training was interrupted: its tensors, and what became of it until then."""

    tensors: dict[str, torch.Tensor]
    history: History


def read_checkpoint(path: Path | None, identity: TrainingIdentity) -> Checkpoint | None:
    """Read the checkpoint of a training; None where there is none.

    Raises
    ------
    WeightsRefused
        It is no checkpoint, or one of another training.
    """
    if path is None or not path.is_file():
        return None
    content = path.read_bytes()
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        digest, told = metadata["identity"], dict(json.loads(metadata.get("told", "{}")))
        history = _history(json.loads(metadata["history"]))
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightsRefused(
            f"the checkpoint {str(path)!r} cannot be read ({error}); delete it to start over"
        ) from error
    if digest != identity.digest:
        now = identity.told
        other = "; ".join(f"{name} {was}, now {now[name]}" for name, was in told.items() if now.get(name, was) != was)
        raise WeightsRefused(
            f"the checkpoint {str(path)!r} belongs to another training{other and f' ({other})'}; repeat its command, "
            "delete it to start over, or name another file with --into"
        )
    return Checkpoint(tensors, history)


def _history(said: Mapping[str, Any]) -> History:
    losses = [(int(step), float(loss)) for step, loss in said["losses"]]
    judged = [(int(step), float(ap)) for step, ap in said["judged"]]
    loss = said["loss"]
    return History(int(said["step"]), None if loss is None else float(loss), losses, judged)


def restore(checkpoint: Checkpoint, model: nn.Module, mean: AveragedModel, optimiser: torch.optim.Optimizer) -> History:
    """Bring model, mean and optimiser to where a training was interrupted; what became of it until then."""
    for prefix, module in ((_MODEL, model), (_MEAN, mean)):
        of_it = {n.removeprefix(prefix): t for n, t in checkpoint.tensors.items() if n.startswith(prefix)}
        module.load_state_dict(of_it)
    state: dict[int, dict[str, Any]] = {}
    for name, value in checkpoint.tensors.items():
        if name.startswith(_OPTIMISER):
            number, key = name.removeprefix(_OPTIMISER).split(".")
            state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return checkpoint.history
