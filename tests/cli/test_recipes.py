import pytest

from fcos_lightning.checkpoints.published import PUBLISHED, recipe_for


@pytest.mark.parametrize(
    ("given", "chosen", "recipe"),
    [
        ("official/FCOS_R_50_FPN_1x", None, "plain"),
        ("official/FCOS_imprv_dcnv2_R_50_FPN_1x", None, "improved"),
        ("official/FCOS_R_50_FPN_1x", "improved", "improved"),
        ("adelaidet/FCOS_R_50_1x", None, None),
        ("downloads/FCOS_R_50_FPN_1x.pth", None, None),
        ("downloads/FCOS_R_50_FPN_1x.pth", "plain", "plain"),
    ],
)
def test_a_published_name_says_its_recipe(
    given: str, chosen: str | None, recipe: str | None
) -> None:
    assert given.startswith("downloads/") or given in PUBLISHED
    assert recipe_for(given, chosen) == recipe
