"""Matrix products in the ring of integers modulo 2^64, int64 tensors, by numpy's loops.

There is no BLAS of integers. Numpy's loops take half to a tenth of the time of torch's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """The product as torch has it, of stacks and vectors too; of two matrices by the faster of numpy's ways."""
    a, b = left.numpy(), right.numpy()
    if left.dim() != 2 or right.dim() != 2:
        return torch.from_numpy(np.asarray(a @ b))
    if b.shape[1] == 1 or not a.flags.c_contiguous:
        return torch.from_numpy(np.einsum("ij,jk->ik", a, b))
    return torch.from_numpy(a @ b)
