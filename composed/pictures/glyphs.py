"""Composed pictures: glyphs of an emoji font, drawn as objects that move slowly over a textured backdrop.

A picture stands for the visible source of a sound. A subject (a class of picture) has several glyphs, which all splits
share; what a picture looks like otherwise (colours, size, place, turn, perspective, motion) is drawn for each one.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow_scripts.errors import UserError, did_you_mean

Canvas = NDArray[np.float32]  # colours of 0…255; a plane for red, green and blue each

FONT = "emoji_font"  # its asset
RASTER = 160  # pixels; side of the square in which a glyph is rasterised
STROKES = (400, 550, 700)  # weights of the variable font
UNASSIGNED = "\U0010ffff"  # never a character: what a font shows for it, it shows for what it lacks


@dataclass(frozen=True)
class Object:
    """One drawn glyph: its masks, colours and motion. Places and sizes are shares of the frame's height and width."""

    masks: NDArray[np.uint8]  # (RASTER, RASTER, 2): the body and the strokes on it
    body: Canvas  # colour, (3, 1, 1)
    strokes: Canvas  # colour, (3, 1, 1)
    centre: NDArray[np.float64]  # x, y
    drift: NDArray[np.float64]  # x, y a second
    size: float  # side, share of the height
    corners: NDArray[np.float64]  # (4, 2) displacement of the square's corners, shares of its side: perspective
    turn: float  # radians
    sway: tuple[float, float, float]  # amplitude in radians, Hertz, phase


class Pictures:
    """Draws pictures of the subjects in `glyphs` (subject: its characters) on frames of `width` × `height` pixels.

    Raises `UserError` when the font cannot be read or lacks a glyph.
    """

    def __init__(self, font: Path, glyphs: Mapping[str, str], width: int, height: int) -> None:
        self.font, self.glyphs, self.width, self.height = font, dict(glyphs), width, height
        self._masks: dict[tuple[str, int], NDArray[np.uint8]] = {}
        missing = self._rasterise(UNASSIGNED, STROKES[0])
        for subject, characters in self.glyphs.items():
            if not characters:
                raise UserError(f"pictures of '{subject}': name at least one character")
            for character in characters:
                if np.array_equal(self.masks(character, STROKES[0]), missing):
                    raise UserError(f"{font.name} has no glyph '{character}' (of '{subject}'); choose another one")

    def masks(self, character: str, stroke: int) -> NDArray[np.uint8]:
        """Body and strokes of a glyph, (RASTER, RASTER, 2), 255 where they cover."""
        if (character, stroke) not in self._masks:
            self._masks[character, stroke] = self._rasterise(character, stroke)
        return self._masks[character, stroke]

    def object(self, subject: str, rng: np.random.Generator, column: int = 0, columns: int = 1) -> Object:
        """Draws how one picture of `subject` looks, in column `column` of `columns` that share the frame."""
        if subject not in self.glyphs:
            raise UserError(f"no picture of '{subject}'{did_you_mean(subject, self.glyphs)}")
        character = self.glyphs[subject][rng.integers(len(self.glyphs[subject]))]
        light, dark = colour(rng, 0.78, 0.97), colour(rng, 0.05, 0.25)
        body, strokes = (light, dark) if rng.random() < 0.75 else (dark, light)
        return Object(
            masks=self.masks(character, STROKES[rng.integers(len(STROKES))]),
            body=body,
            strokes=strokes,
            centre=np.array([(column + rng.uniform(0.38, 0.62)) / columns, rng.uniform(0.42, 0.58)]),
            drift=rng.uniform(-0.02, 0.02, 2),
            size=float(rng.uniform(0.65, 0.95) * (1.0, 0.75, 0.55)[min(columns, 3) - 1]),
            corners=rng.uniform(-0.09, 0.09, (4, 2)),
            turn=float(rng.normal(0, np.radians(9))),
            sway=(float(rng.uniform(0, np.radians(6))), float(rng.uniform(0.2, 0.7)), float(rng.uniform(0, 6.28))),
        )

    def backdrop(self, rng: np.random.Generator) -> Canvas:
        """A slope between two colours with stains and grain, (3, height, width)."""
        import cv2

        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * x / self.width + np.sin(angle) * y / self.height
        slope = (slope - slope.min()) / np.ptp(slope)
        first, second = colour(rng, 0.35, 0.65, 0.45), colour(rng, 0.35, 0.65, 0.45)
        stains = cv2.resize(
            rng.normal(0, 9, (5, 6)).astype(np.float32), (self.width, self.height), interpolation=cv2.INTER_CUBIC
        )
        grain = rng.normal(0, rng.uniform(2, 6), (self.height, self.width)).astype(np.float32)
        return np.asarray(first + (second - first) * slope + (stains + grain), np.float32)

    def paint(self, canvas: Canvas, thing: Object, seconds: float) -> None:
        """Paints an object onto `canvas` (3, height, width), in place, as it stands `seconds` after its appearance."""
        import cv2

        amplitude, frequency, phase = thing.sway
        turn = thing.turn + amplitude * np.sin(2 * np.pi * frequency * seconds + phase)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        place = (thing.centre + thing.drift * seconds) * (self.width, self.height)
        square = self._square + thing.corners
        corners = place + square @ rotation * thing.size * self.height
        warp = cv2.getPerspectiveTransform(
            ((self._square + 0.5) * RASTER).astype(np.float32), np.ascontiguousarray(corners, np.float32)
        )
        cover = cv2.warpPerspective(thing.masks, warp, (self.width, self.height)).transpose(2, 0, 1)
        body, strokes = cover.astype(np.float32, order="C") / 255
        canvas += (thing.body - canvas) * body
        canvas += (thing.strokes - canvas) * strokes

    @cached_property
    def _square(self) -> NDArray[np.float64]:
        return np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])

    def _rasterise(self, character: str, stroke: int) -> NDArray[np.uint8]:
        """A glyph's body (all that its outline encloses) and its strokes."""
        import cv2
        from PIL import Image, ImageDraw

        image = Image.new("L", (RASTER, RASTER))
        ImageDraw.Draw(image).text((RASTER / 2, RASTER / 2), character, font=self._face(stroke), fill=255, anchor="mm")
        strokes = np.asarray(image)
        # What a fill from outside does not reach is the body; the margin lets it flow around glyphs at the border.
        outside = np.pad((strokes > 127).astype(np.uint8), 1)
        cv2.floodFill(outside, None, (0, 0), (2,))
        body = np.where(outside[1:-1, 1:-1] == 2, strokes, 255)
        return np.stack([body, strokes], axis=-1).astype(np.uint8)

    def _face(self, stroke: int) -> Any:
        from PIL import ImageFont

        try:
            face = ImageFont.truetype(str(self.font), int(RASTER * 0.72))
            face.set_variation_by_axes([stroke])
        except OSError as error:
            raise UserError(f"{self.font}: not a variable font that can be read ({error}); fetch it again") from None
        return face


def colour(rng: np.random.Generator, darkest: float, lightest: float, saturation: float = 0.8) -> Canvas:
    """A random colour, (3, 1, 1) in 0…255, of a lightness (of HLS) between the bounds and at most this saturation."""
    hls = rng.random(), rng.uniform(darkest, lightest), rng.uniform(0.1, saturation)
    return 255 * np.array(colorsys.hls_to_rgb(*hls), dtype=np.float32)[:, None, None]
