"""Ghost clipping and per-record gradients of an adapter lead to the same clipped sum; both are measured afresh."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tools.clipping import CLIP, ClippingCase, clipped, measure, page

SMALL = ClippingCase("deit_tiny_patch16_224", 32, 1, 6, "per record")


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_both_ways_lead_to_the_same_sum() -> None:
    kept, ghost, unclipped = (clipped(replace(SMALL, way=way)) for way in ("per record", "ghost", "none"))
    assert len(kept) == len(ghost) == 2 * 4 + 2
    for one, other in zip(kept, ghost, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    # clipping did something: the sum is within the bound of six records, and not the ordinary gradient
    norm = float(torch.cat([part.flatten() for part in kept]).norm())
    assert norm <= SMALL.batch * CLIP * 1.001
    assert any(not torch.allclose(one, other, rtol=1e-2) for one, other in zip(kept, unclipped, strict=True))


@pytest.mark.long
def test_a_row_is_measured_in_a_process_of_its_own() -> None:
    row = measure(SMALL)
    assert row.bytes >= 0
    assert row.seconds > 0
    text = page([row])
    assert "| deit_tiny_patch16_224, 32 px, last 1 blocks | 6 | per record |" in text


@pytest.mark.long
def test_a_case_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no-such-model"):
        measure(replace(SMALL, backbone="no-such-model"))
