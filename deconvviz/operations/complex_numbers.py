"""Complex numbers: conjugates, real and imaginary parts.

The signal of a complex value holds, as in autograd, the derivative by the real part plus i times that by the imaginary
part. Conjugation and taking parts are linear over the real numbers; the mirror is the adjoint. Windows do not change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deconvviz.operations.registry import mirror, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import same

aten: Any = torch.ops.aten

_CONJUGATES = (aten._conj, aten._conj_physical, aten._neg_view, aten.resolve_conj, aten.resolve_neg)

mirror(*_CONJUGATES, aten.real, aten.imag, batchwise=True, local=True)(adjoint)
window(*_CONJUGATES)(same)


@mirror(aten.view_as_real, batchwise=lambda operation, samples: len(operation["self"].shape) > 0)
def parts_joined(op: Step, signal: Tensor) -> Signals:
    """The two parts as a complex number."""
    return torch.view_as_complex(signal.contiguous())


@mirror(aten.view_as_complex, batchwise=lambda operation, samples: len(operation["self"].shape) > 1)
def in_parts(op: Step, signal: Tensor) -> Signals:
    """The real and the imaginary part."""
    return torch.view_as_real(signal.resolve_conj())
