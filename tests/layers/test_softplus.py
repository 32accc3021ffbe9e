"""The softplus of processors against torch's in float64."""

import torch
import torch.nn.functional as F

from fcos_lightning.layers.softplus import quick_softplus


def test_the_quick_softplus_is_one() -> None:
    numbers = torch.cat([torch.linspace(-80, 80, 20001), torch.tensor([-torch.inf, torch.inf])])
    exact = F.softplus(numbers.double())
    torch.testing.assert_close(quick_softplus(numbers).double(), exact, rtol=5e-7, atol=0)
    assert quick_softplus(torch.tensor([torch.nan])).isnan().all()
    assert torch.equal(quick_softplus(numbers.double()), exact)
