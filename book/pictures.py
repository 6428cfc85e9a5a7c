"""Pictures of the book: small, of known size, and loaded when they come into sight.

Readers who asked their system for less motion get stills in the place of animations.
"""

from __future__ import annotations

import hashlib
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from PIL import Image
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms.images import BaseImageConverter
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

HEAVY = 80_000  # bytes, without loss; photographs, crowds and noise weigh more
COLOURS = 256  # of a heavy picture: at its own size no eye tells them from all of them


def smaller(source: Path, target: Path) -> None:
    """Write a picture as WebP, pixel by pixel the same; a heavy one in its 256 best colours.

    Args:
        source: A still picture.
        target: The file to write.
    """
    with Image.open(source) as opened:
        picture = opened.convert("RGBA")
    if picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    picture.save(target, "WEBP", lossless=True, quality=80)
    if target.stat().st_size > HEAVY and picture.mode == "RGB":
        few = picture.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
        few.convert("RGB").save(target, "WEBP", lossless=True, quality=100)


class Pictures(BaseImageConverter):
    """Puts a smaller file in the place of each picture, and notes its size.

    An animation stays as it is, with the still that lies beside it.
    """

    default_priority = 200  # after Sphinx has collected and converted what it must

    def match(self, node: nodes.image) -> bool:
        """Say whether the picture is a file of ours."""
        return node["uri"] in self.env.images

    def handle(self, node: nodes.image) -> None:
        """Change one picture.

        One that nobody describes draws a warning.
        """
        if not node.get("alt"):
            logging.getLogger(__name__).warning(
                "a picture without a description: say what is to be seen, in `![...](...)` or in "
                "the cell's metadata, `mystnb.image.alt`",
                location=node.parent,
            )
        source = self.env.srcdir / node["uri"]
        with Image.open(source) as picture:
            node["size"] = picture.size
            animated = getattr(picture, "is_animated", False)
        if animated:
            still = source.with_name(f"{source.stem}-still.png")
            node["still"] = self._smaller(still)
        else:
            node["uri"] = self._smaller(source)
            node["candidates"] = {"*": node["uri"]}

    def _smaller(self, source: Path) -> str:
        content = source.read_bytes()
        # The name tells the content: a browser never shows an old picture from its cache.
        name = f"{source.stem[:40]}-{hashlib.sha256(content).hexdigest()[:8]}.webp"
        target = self.imagedir / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            smaller(source, target)
        self.env.images.add_file(self.env.docname, str(target))
        return str(target)


def _visit_image(writer: Any, node: nodes.image) -> None:
    if "size" not in node:
        HTML5Translator.visit_image(writer, node)
        return
    width, height = node["size"]
    image = writer.emptytag(
        node,
        "img",
        "",
        src=_address(writer, node["uri"]),
        alt=node.get("alt", ""),
        width=width,
        height=height,
        loading="lazy",
    )
    if "still" in node:
        still = writer.attval(_address(writer, node["still"]))
        prefers = "(prefers-reduced-motion: reduce)"
        image = f'<picture><source srcset="{still}" media="{prefers}">{image}</picture>'
    writer.body.append(image)


def _depart_image(writer: Any, node: nodes.image) -> None:
    if "size" not in node:
        HTML5Translator.depart_image(writer, node)


def _address(writer: Any, uri: str) -> str:
    """Return where the page finds a picture, which is copied to the built files."""
    builder = writer.builder
    builder.images[uri] = builder.env.images[uri][1]
    return posixpath.join(builder.imgpath, quote(builder.images[uri]))


def _visit_download(writer: Any, node: addnodes.download_reference) -> None:
    """Let a link to a picture show it; Sphinx would have it saved as a file."""
    if not node.get("filename", "").endswith(".png"):
        HTML5Translator.visit_download_reference(writer, node)
        return
    href = posixpath.join(writer.builder.dlpath, quote(node["filename"]))
    writer.body.append(writer.starttag(node, "a", "", CLASS="reference internal", href=href))
    writer.context.append("</a>")


def _depart_download(writer: Any, node: addnodes.download_reference) -> None:
    HTML5Translator.depart_download_reference(writer, node)


def setup(app: Sphinx) -> dict[str, Any]:
    """Change pictures and links to pictures in HTML."""
    app.add_post_transform(Pictures)
    app.add_node(nodes.image, override=True, html=(_visit_image, _depart_image))
    app.add_node(
        addnodes.download_reference, override=True, html=(_visit_download, _depart_download)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": False}
