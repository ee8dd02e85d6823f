"""A form made from the settings of a config record: the few that matter first, the rest folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLabel, QLineEdit, QToolButton, QVBoxLayout, QWidget

from fgsn_viewer.settings_spec import SettingSpec
from fgsn_viewer.views.common import NUMBER, quiet_label, tabular_font

LABEL_WIDTH = 150


class SettingsForm(QWidget):
    """Passive: ``set_specs`` makes the fields; ``values`` reads them, or raises ValueError with a sentence."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._specs: dict[str, SettingSpec] = {}
        self._editors: dict[str, QWidget] = {}
        self._first, self._folded = QWidget(), QWidget()
        self.fold = QToolButton(text="All settings", checkable=True)
        self.fold.setArrowType(Qt.ArrowType.RightArrow)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.toggled.connect(self._on_fold)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        self._layout = layout
        layout.addWidget(self._first)
        layout.addWidget(self.fold, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self._folded)
        layout.addStretch(1)
        self._on_fold(False)
        self.fold.hide()

    def set_specs(self, specs: Sequence[SettingSpec], important: Sequence[str]) -> None:
        """Make a field for each; ``important`` paths come first, in that order, the others folded by group."""
        self._specs = {spec.path: spec for spec in specs}
        self._editors = {}
        self._first, first = self._renewed(self._first)
        self._folded, rest = self._renewed(self._folded)
        self._on_fold(self.fold.isChecked())
        chosen = [self._specs[path] for path in important if path in self._specs]
        others = [spec for spec in specs if spec not in chosen]
        for spec in chosen:
            self._add(first, spec)
        group = None
        for spec in others:
            if spec.group != group:
                group = spec.group
                rest.addRow(quiet_label(group or "Training", "heading"))
            self._add(rest, spec)
        self.fold.setVisible(bool(others))

    def values(self) -> dict[str, Any]:
        """The value of every setting by its path. Raises ValueError for the first that cannot be."""
        return {path: _read(spec, self._editors[path]) for path, spec in self._specs.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Fill fields without saying so."""
        for path, value in values.items():
            editor = self._editors[path]
            editor.blockSignals(True)
            _fill(editor, value)
            editor.blockSignals(False)

    def editor(self, path: str) -> QWidget:
        """The field of a setting."""
        return self._editors[path]

    def set_enabled(self, enabled: bool) -> None:
        """Let the fields be changed, or not."""
        for editor in self._editors.values():
            editor.setEnabled(enabled)

    def _renewed(self, old: QWidget) -> tuple[QWidget, QFormLayout]:
        """Put an empty form in the place of an old one."""
        new = QWidget()
        new.setLayout(form_layout())
        self._layout.replaceWidget(old, new)
        old.hide()
        old.deleteLater()
        return new, new.layout()

    def _add(self, form: QFormLayout, spec: SettingSpec) -> None:
        editor = _editor(spec)
        editor.setToolTip(_tip(spec))
        editor.setAccessibleName(spec.title)
        for signal in ("textChanged", "toggled", "currentTextChanged"):
            if hasattr(editor, signal):
                getattr(editor, signal).connect(lambda _value: self.changed.emit())
        self._editors[spec.path] = editor
        title = form_label(f"{spec.title}, {spec.unit}" if spec.unit else spec.title)
        title.setToolTip(_tip(spec))
        form.addRow(title, editor)

    def _on_fold(self, opened: bool) -> None:
        self._folded.setVisible(opened)
        self.fold.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)


def form_label(text: str) -> QLabel:
    """The name of a field; all of them are as wide, so that the fields of several forms stand in one column."""
    label = QLabel(text, objectName="title")
    label.setMinimumWidth(LABEL_WIDTH)
    return label


def form_layout() -> QFormLayout:
    """Rows of a name and a field."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(12)
    form.setVerticalSpacing(4)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def _editor(spec: SettingSpec) -> QWidget:
    if spec.kind == "bool":
        editor: QWidget = QCheckBox()
    elif spec.kind == "choice":
        editor = QComboBox()
        editor.addItems(list(spec.choices))
    else:
        editor = QLineEdit()
        editor.setFont(tabular_font(editor.font()))
        editor.setAlignment(NUMBER if spec.kind != "text" else Qt.AlignmentFlag.AlignLeft)
        editor.setPlaceholderText("none" if spec.optional else "")
    _fill(editor, spec.value)
    return editor


def _fill(editor: QWidget, value: Any) -> None:
    if isinstance(editor, QCheckBox):
        editor.setChecked(bool(value))
    elif isinstance(editor, QComboBox):
        editor.setCurrentText(str(value))
    else:
        shown = "" if value is None else repr(value) if isinstance(value, float) else str(value)
        editor.setText(shown)


def _read(spec: SettingSpec, editor: QWidget) -> Any:
    if isinstance(editor, QCheckBox):
        return editor.isChecked()
    return spec.parse(editor.currentText() if isinstance(editor, QComboBox) else editor.text())


def _tip(spec: SettingSpec) -> str:
    bounds = [f"from {spec.minimum:g}"] if spec.minimum is not None else []
    bounds += [f"to {spec.maximum:g}"] if spec.maximum is not None else []
    text = spec.help[:1].upper() + spec.help[1:]
    return f"{text}\n{' '.join(bounds).capitalize()} {spec.unit}".strip() if bounds else text
