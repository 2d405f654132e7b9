"""PyTorch twins of Segue's sequence models.

The same ``config.json`` and ``model.safetensors`` as the Rust engine reads and writes, and the same
numbers to 1e-4 in float32. Batches are packed as there: tokens of all listeners one after the other,
and ``offsets`` that say where each begins.

>>> import segue_torch
>>> model = segue_torch.new("esasrec", {"d": 16, "hidden": 32, "max_history": 8}, n_items=100)
>>> batch = segue_torch.Batch.of([[3, 7, 1], [42]])
>>> model(batch).shape
torch.Size([4, 16])
"""

from .artifact import load, new, save
from .config import Negatives, Settings, Training
from .data import Batch
from .model import SequenceModel

__all__ = ["Batch", "Negatives", "SequenceModel", "Settings", "Training", "load", "new", "save"]
