"""What all explorers are: controls, a picture that follows them, a reset, and a still picture."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from cnnlib.explorers.picture import Picture, png_of_figure


class Explorer(widgets.VBox):
    """A picture that follows its controls; where widgets cannot run, a still picture.

    A subclass makes its controls and its picture, calls `super().__init__`, and defines `update`
    and `still`. Shown in a notebook, it stores the still picture and its description beside the
    widget, so that the notebook can be read where no Python runs.
    """

    def __init__(
        self,
        title: str,
        description: str,
        picture: Picture,
        controls: Sequence[widgets.ValueWidget],
        rows: Sequence[Sequence[widgets.Widget]],
    ) -> None:
        """Put the widgets together, and draw the first picture.

        Args:
            title: A few words.
            description: What can be done and seen, for everybody, without markup.
            picture: Its caption tells what `update` returns.
            controls: Widgets whose `value` is watched, and set back by the button.
            rows: What is shown, row by row; the button stands below.
        """
        self.title, self.description, self.picture = title, description, picture
        self._start = [(control, "value", control.value) for control in controls]
        self._start.append((picture, "at", picture.at))
        self._waiting = 0
        self.reset_button = widgets.Button(description="Reset", tooltip="Back to the start")
        self.reset_button.on_click(lambda _: self.reset())
        text = f"<b>{escape(title)}.</b> {escape(description)}"
        lines = [widgets.HBox(row).add_class("cnnlib-row") for row in rows]
        super().__init__([widgets.HTML(text), *lines, self.reset_button])
        self.add_class("cnnlib-explorer")
        for watched, name, _ in self._start:
            watched.observe(self._changed, name)
        self.refresh()

    def update(self) -> str:
        """Draw what the controls ask for, and say it in words.

        Returns:
            The caption.

        Raises:
            TypeError: They ask for something impossible; the caption then says what.
            ValueError: The same.
        """
        raise NotImplementedError

    def still(self) -> Figure:
        """Return the picture for places where widgets cannot run."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Follow the controls; if they ask for what cannot be, say why and keep the picture."""
        try:
            caption, problem = self.update(), False
        except (TypeError, ValueError) as error:
            caption, problem = f"Does not fit: {error}", True
        with self.picture.hold_sync():
            self.picture.caption, self.picture.problem = caption, problem

    def reset(self) -> None:
        """Set all controls back to their start."""
        with self.together():
            for widget, name, value in self._start:
                setattr(widget, name, value)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let several controls change before one new picture is drawn."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
        self._changed()

    def _changed(self, change: Any = None) -> None:
        if not self._waiting:
            self.refresh()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        shown: dict[str, Any] = super()._repr_mimebundle_(**options)
        still = base64.b64encode(png_of_figure(self.still())).decode()
        return {**shown, "image/png": still, "text/plain": f"{self.title}. {self.description}"}
