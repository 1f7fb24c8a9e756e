"""The dashboard's colours, which every eye can tell apart on either paper."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Matrices of Machado, Oliveira & Fernandes 2009, of linear RGB."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_every_eye_tells_the_series_colours_apart(theme: str, blindness: str) -> None:
    css = (ROOT / "api" / "dashboard" / "theme.css").read_text()
    pairs = re.findall(r"--(?:data-\d|paper): light-dark\(#(\w+), #(\w+)\)", css)
    hexes = [pair[theme == "dark"] for pair in pairs]
    assert len(hexes) == 9
    srgb = np.array([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in hexes])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ XYZ[1]
    high, low = np.maximum(luminance[1:], luminance[0]), np.minimum(luminance[1:], luminance[0])
    assert ((high + 0.05) / (low + 0.05) >= 3).all()  # WCAG, of graphics against the paper
    xyz = np.clip(linear[1:] @ np.array(BLINDNESS[blindness]).T, 0, 1) @ XYZ.T / XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e9 * np.eye(len(lab))
    assert apart.min() >= 15
