"""The scene as a tree: conditions, their images with thumbnails, and how each localization ended."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QSize, QSortFilterProxyModel, Qt, QTimer, Signal
from PySide6.QtGui import QBrush, QColor, QIcon, QPainter, QPixmap, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLineEdit,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from core.evaluation.recall import OUTCOME_MARKS
from core.geometry import Array
from core.records import ImageData, Scene
from fgsn_viewer import palette
from fgsn_viewer.views.common import NUMBER, OUTCOME_WORDS, outcome_color, pixmap_of, quiet_label

NAME_ROLE = Qt.ItemDataRole.UserRole + 1
WORD_ROLE = Qt.ItemDataRole.UserRole + 2
FILTER_ROLE = Qt.ItemDataRole.UserRole + 3
THUMBNAIL = QSize(48, 36)
_LAZY_MS = 80
_FITS, _LONG_NUMBER = 14, re.compile(r"\d*(\d{7})(?=\D*$)")  # characters of a name; the end of a number


class SceneTree(QWidget):
    """Passive: ``set_scene``, ``set_outcomes``, ``set_query``; it asks for the thumbnails that come into sight."""

    query_chosen = Signal(str)
    reference_chosen = Signal(str)
    thumbnails_wanted = Signal(object)  # names

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._items: dict[str, QStandardItem] = {}
        self._status: dict[str, QStandardItem] = {}
        self._groups: list[tuple[QStandardItem, list[str]]] = []
        self._queries: frozenset[str] = frozenset()
        self._localizable: frozenset[str] = frozenset()  # only these have a status
        self._asked: set[str] = set()
        self._model = QStandardItemModel(self)
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setFilterRole(FILTER_ROLE)
        self._proxy.setRecursiveFilteringEnabled(True)
        self._proxy.setAutoAcceptChildRows(True)
        self._proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.filter = QLineEdit(placeholderText="Filter images", clearButtonEnabled=True)
        self.tree = self._make_tree()
        self._empty = quiet_label("Nothing is open.")
        self._blank = _blank_thumbnail()
        self._lazy = QTimer(self, singleShot=True, interval=_LAZY_MS)
        self._lay_out()
        self._connect()

    def _make_tree(self) -> QTreeView:
        tree = QTreeView()
        tree.setModel(self._proxy)
        tree.setHeaderHidden(True)
        tree.setUniformRowHeights(False)
        tree.setIconSize(THUMBNAIL)
        tree.setIndentation(12)
        tree.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        tree.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        tree.setTextElideMode(Qt.TextElideMode.ElideRight)
        tree.setAccessibleName("Images of the scene")
        tree.setItemDelegateForColumn(1, _StatusDelegate(tree))
        return tree

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        for widget in (self.filter, self._empty, self.tree):
            layout.addWidget(widget)
        layout.setStretchFactor(self.tree, 1)
        self.set_scene(None)

    def _connect(self) -> None:
        self.filter.textChanged.connect(self._on_filter)
        self.tree.selectionModel().currentChanged.connect(self._on_current)
        self.tree.expanded.connect(lambda _: self._lazy.start())
        self.tree.verticalScrollBar().valueChanged.connect(lambda _: self._lazy.start())
        self._lazy.timeout.connect(self._ask_for_thumbnails)

    def set_scene(self, scene: Scene | None) -> None:
        """List the images of a scene, or say that nothing is open."""
        selection = self.tree.selectionModel()
        blocked = selection.blockSignals(True)
        self._model.clear()
        self._model.setColumnCount(2)
        self._items, self._status, self._groups, self._asked = {}, {}, [], set()
        self._queries = frozenset(image.name for image in scene.queries) if scene is not None else frozenset()
        self._localizable = self._queries if scene is not None and scene.map is not None else frozenset()
        if scene is not None:
            self._fill(scene)
        selection.blockSignals(blocked)
        self.tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.tree.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.header().setStretchLastSection(False)
        self.filter.setEnabled(scene is not None)
        self.filter.clear()
        self._empty.setVisible(scene is None)
        self.tree.setVisible(scene is not None)
        self._lazy.start()

    def _fill(self, scene: Scene) -> None:
        for condition in scene.conditions:
            queries = [image for image in scene.queries if image.condition == condition]
            if queries:
                self._add_group(condition or "queries", queries, expanded=True)
        several = len({image.condition for image in scene.reference}) > 1
        for condition in scene.conditions:
            reference = [image for image in scene.reference if image.condition == condition]
            if reference:
                title = f"{condition} (reference)" if several and condition else "reference"
                self._add_group(title, reference, expanded=not scene.queries or len(scene.images) == 2)

    def _add_group(self, title: str, images: list[ImageData], expanded: bool) -> None:
        group, count = QStandardItem(title), QStandardItem(str(len(images)))
        group.setData(title, FILTER_ROLE)
        if images[0].condition:
            group.setIcon(QIcon(_dot(palette.condition_color(images[0].condition))))
        font = group.font()
        font.setBold(True)
        group.setFont(font)
        count.setTextAlignment(NUMBER)
        count.setToolTip(f"{len(images)} images")
        condition = images[0].condition or "no condition given"
        group.setToolTip(title if condition == title else f"{title}: {condition}")
        for image, short in zip(images, short_names([image.name for image in images]), strict=True):
            group.appendRow(self._row(image, short))
        self._model.appendRow([group, count])
        self._groups.append((count, [image.name for image in images if image.name in self._queries]))
        self.tree.setExpanded(self._proxy.mapFromSource(group.index()), expanded)

    def _row(self, image: ImageData, short: str) -> list[QStandardItem]:
        item, status = QStandardItem(short), QStandardItem("")
        item.setData(image.name, NAME_ROLE)
        item.setData(image.name, FILTER_ROLE)
        item.setToolTip(image.name)
        item.setIcon(QIcon(self._blank))
        status.setTextAlignment(NUMBER)
        self._items[image.name], self._status[image.name] = item, status
        if image.name in self._localizable:
            _show_status(status, None)
        return [item, status]

    def set_outcomes(self, outcomes: Mapping[str, object]) -> None:
        """Mark how the localization of each query ended; ``outcomes`` maps names to Outcome."""
        for name in self._localizable:
            _show_status(self._status[name], outcomes.get(name))
        for count, names in self._groups:
            done = [outcomes[name] for name in names if name in outcomes]
            judged = [item for item in done if item.word != "unknown"]
            good = sum(item.word in ("good", "fair") for item in judged)
            total = count.toolTip().split()[0]
            count.setText(f"{good} of {total}" if judged and len(done) == len(names) else total)
            count.setToolTip(
                f"{total} images" + (f"; {len(done)} localized, {good} of them within 0.5 m and 5°" if judged else "")
            )

    def set_query(self, name: str | None) -> None:
        """Select an image without saying so."""
        item = self._items.get(name or "")
        if item is None:
            return
        index = self._proxy.mapFromSource(item.index())
        if not index.isValid() or index == self.tree.currentIndex():
            return
        selection = self.tree.selectionModel()
        selection.currentChanged.disconnect(self._on_current)
        self.tree.expand(index.parent())
        flags = QItemSelectionModel.SelectionFlag
        selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        selection.currentChanged.connect(self._on_current)
        self.tree.scrollTo(index)
        self._lazy.start()

    def set_thumbnail(self, name: str, rgb: Array | None) -> None:
        """Show a thumbnail; None marks an image that is missing."""
        item = self._items.get(name)
        if item is None:
            return
        if rgb is None:
            item.setForeground(QBrush(QColor(palette.PRIOR)))
            item.setToolTip(f"{name}: the image file is missing or cannot be read")
        else:
            item.setIcon(_plain_icon(_framed(pixmap_of(rgb))))

    def _on_filter(self, text: str) -> None:
        self._proxy.setFilterFixedString(text)
        if text:
            self.tree.expandAll()
        self._lazy.start()

    def _on_current(self, index: QModelIndex, _previous: QModelIndex) -> None:
        name = index.siblingAtColumn(0).data(NAME_ROLE)
        if name and (name in self._queries or not self._queries):
            self.query_chosen.emit(name)
        elif name:
            self.reference_chosen.emit(name)

    def _ask_for_thumbnails(self) -> None:
        names = [name for name in self._names_in_sight() if name not in self._asked]
        if names:
            self._asked.update(names)
            self.thumbnails_wanted.emit(names)

    def _names_in_sight(self) -> list[str]:
        index = self.tree.indexAt(self.tree.viewport().rect().topLeft())
        bottom, names = self.tree.viewport().height(), []
        while index.isValid() and self.tree.visualRect(index).top() <= bottom:
            if name := index.siblingAtColumn(0).data(NAME_ROLE):
                names.append(name)
            index = self.tree.indexBelow(index)
        return names


class _StatusDelegate(QStyledItemDelegate):
    """Paints the status in its own colour, on selected rows too."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        self.initStyleOption(option, index)
        text, option.text = option.text, ""
        style = option.widget.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        word = index.data(WORD_ROLE)
        painter.save()
        painter.setFont(option.font)
        painter.setPen(option.palette.text().color() if word is None else outcome_color(word))
        painter.drawText(option.rect.adjusted(4, 0, -4, 0), NUMBER, text)
        painter.restore()


def _show_status(item: QStandardItem, outcome) -> None:
    word = outcome.word if outcome is not None else ""
    mark = OUTCOME_MARKS[word]
    number = ""
    if word == "failed":
        number = " no pose"
    elif outcome is not None and outcome.position_m is not None:
        number = f" {outcome.position_m:.2f} m" if outcome.position_m < 100 else " > 100 m"
    item.setText(f"{mark}{number}")
    item.setData(word, WORD_ROLE)
    tip = OUTCOME_WORDS[word].capitalize()
    if outcome is not None and outcome.position_m is not None:
        tip += f": {outcome.position_m:.2f} m, {outcome.rotation_deg:.2f}° from the true pose; {outcome.num_inliers} inliers"
    item.setToolTip(tip)


def short_names(names: Sequence[str]) -> list[str]:
    """What tells the images of one group apart, in little room: file names where these are short and differ.

    Of longer names goes what all begin with, the suffix and the beginning of a long number, such as a time in us.
    """
    files = [name.rsplit("/", 1)[-1] for name in names]
    if len(set(files)) == len(files) and all(len(file) <= _FITS for file in files):
        return files
    common = re.match(r"(.*[/_-])?", _same_beginning(min(names), max(names)) if len(names) > 1 else "").end()
    cut = [os.path.splitext(name[common:] if len(names) > 1 else file)[0] for name, file in zip(names, files, strict=True)]
    return [_LONG_NUMBER.sub(r"…\1", name) if len(name) > _FITS else name for name in cut]


def _same_beginning(first: str, last: str) -> str:
    return first[: next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _blank_thumbnail() -> QPixmap:
    pixmap = QPixmap(THUMBNAIL)
    pixmap.fill(QColor(128, 128, 128, 40))
    return pixmap


def _framed(pixmap: QPixmap) -> QPixmap:
    """Fill the thumbnail's frame: scaled to cover it, cut in the middle."""
    mode = Qt.AspectRatioMode.KeepAspectRatioByExpanding
    scaled = pixmap.scaled(THUMBNAIL, mode, Qt.TransformationMode.SmoothTransformation)
    x, y = (scaled.width() - THUMBNAIL.width()) // 2, (scaled.height() - THUMBNAIL.height()) // 2
    return scaled.copy(x, y, THUMBNAIL.width(), THUMBNAIL.height())


def _plain_icon(pixmap: QPixmap) -> QIcon:
    """An icon that keeps its colours when its row is selected."""
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _dot(color: str) -> QPixmap:
    """A spot of the condition's colour, with a rim so that pale ones are seen on a light ground."""
    pixmap = QPixmap(14, 24)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor(128, 128, 128))
    painter.setBrush(QColor(color))
    painter.drawEllipse(1, 7, 10, 10)
    painter.end()
    return pixmap
