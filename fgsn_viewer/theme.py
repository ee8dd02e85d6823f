"""The look: qdarkstyle, dark by default, with a small sheet over it for focus, spacing and the start page."""

from __future__ import annotations

import os

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

THEMES = ("dark", "light")
_INK = {
    "dark": {
        "text": "#DFE1E2", "quiet": "#9DA9B5", "line": "#37414F", "focus": "#4FC3F7", "accent": "#1F6F99", "raised": "#22303D",
        "hover": "#2A3B4A", "bad": "#EF5350", "bad_back": "#3A2629", "primary_text": "#FFFFFF",
        "back": "#19232D", "chosen": "#26506B", "link": "#7CCBF2", "deep": "#10171E",
    },
    "light": {
        "text": "#19232D", "quiet": "#54687A", "line": "#C0C4C8", "focus": "#0277BD", "accent": "#0277BD", "raised": "#EEF1F3",
        "hover": "#E1E7EB", "bad": "#C62828", "bad_back": "#FBE9E7", "primary_text": "#FFFFFF",
        "back": "#FAFAFA", "chosen": "#B3DDF5", "link": "#0B5C8A", "deep": "#D2D5D8",
    },
}  # fmt: skip
_SHEET = """
QLabel#quiet {{ color: {quiet}; padding: 0; margin: 0; }}
QLabel#heading {{ color: {quiet}; font-weight: bold; padding: 0; margin: 0; }}
QLabel#title {{ padding: 0; margin: 0; }}
QLabel#bad {{ color: {bad}; font-weight: bold; }}
QFrame#banner {{ background: {bad_back}; border: none; border-left: 4px solid {bad}; border-radius: 0; }}
QFrame#banner QLabel {{ background: transparent; color: {text}; }}
QFrame#banner QLabel#bad {{ color: {bad}; }}
QFrame#dropTarget {{ border: 1px dashed {quiet}; border-radius: 6px; background: transparent; }}
QFrame#dropTarget QLabel {{ background: transparent; }}
QPushButton#primary {{ background: {accent}; color: {primary_text}; font-weight: bold; border-radius: 4px; padding: 0 16px; }}
QPushButton#primary:hover {{ background: {focus}; }}
QPushButton#primary:disabled {{ background: {raised}; color: {quiet}; }}
QPushButton#choice {{ background: {raised}; border-radius: 4px; padding: 0 16px; }}
QPushButton#choice:hover {{ background: {hover}; }}
QPushButton#link {{ background: transparent; color: {link}; text-align: left; padding: 4px 0; min-height: 20px; }}
QPushButton#link:hover {{ background: transparent; text-decoration: underline; }}
QPushButton:focus, QToolButton:focus, QComboBox:focus, QLineEdit:focus, QAbstractItemView:focus, QSlider:focus
  {{ border: 1px solid {focus}; }}
QAbstractItemView {{ alternate-background-color: {raised}; }}
QTreeView, QTableView, QPlainTextEdit {{ border: 1px solid transparent; }}
QTreeView::item {{ padding: 1px 0; }}
QHeaderView::section {{ padding: 4px; border: none; border-bottom: 1px solid {line}; }}
QHeaderView::up-arrow, QHeaderView::down-arrow {{ width: 8px; height: 8px; subcontrol-position: top center; top: -1px; }}
QTableView::item {{ padding: 0 4px; border: none; }}
QTableView#plain::item:hover {{ background: transparent; }}
QDockWidget {{ font-weight: bold; }}
QDockWidget::title {{ padding: 4px 8px; text-align: left; background: {raised}; border: none; }}
QMainWindow::separator, QMainWindow::separator:horizontal, QMainWindow::separator:vertical
  {{ width: 4px; height: 4px; background: {deep}; image: none; border: none; margin: 0; padding: 0; }}
QMainWindow::separator:hover {{ background: {focus}; }}
QMenuBar {{ background: {back}; padding: 0 4px; border: none; color: {text}; }}
QMenuBar::item {{ padding: 4px 8px; }}
QStatusBar {{ background: {back}; border: none; border-top: 1px solid {line}; color: {quiet}; }}
QStatusBar::item {{ border: none; }}
QStatusBar QLabel {{ padding: 0 8px; background: transparent; color: {quiet}; }}
QStatusBar QPushButton {{ padding: 2px 12px; }}
QStatusBar QPushButton#statusLink {{ background: transparent; border: none; color: {quiet}; padding: 2px 8px; }}
QStatusBar QPushButton#statusLink:hover {{ text-decoration: underline; }}
QTreeView {{ show-decoration-selected: 1; }}
QTreeView::branch:has-siblings:!adjoins-item, QTreeView::branch:has-siblings:adjoins-item,
QTreeView::branch:!has-children:!has-siblings:adjoins-item {{ border-image: none; image: none; }}
QTreeView::branch:selected, QTreeView::item:selected:active, QTreeView::item:selected:!active,
QTableView::item:selected:active, QTableView::item:selected:!active {{ background: {chosen}; color: {text}; }}
QScrollArea {{ border: none; }}
QSplitter::handle {{ background: {deep}; image: none; }}
QToolButton#menu::menu-indicator {{ image: none; }}
QToolTip {{ padding: 4px; }}
"""


def apply_theme(app: QApplication, name: str) -> None:
    """Dress the application in "dark" or "light"; nothing happens when it wears that already."""
    if app.property("theme") == name:
        return
    app.setProperty("theme", name)
    os.environ.setdefault("QT_API", "pyside6")
    import qdarkstyle
    from qdarkstyle.dark.palette import DarkPalette
    from qdarkstyle.light.palette import LightPalette

    palette = LightPalette if name == "light" else DarkPalette
    app.setPalette(_palette(name))
    app.setStyleSheet(qdarkstyle.load_stylesheet(qt_api="pyside6", palette=palette) + style_sheet(name))


def _palette(name: str) -> QPalette:
    """The same colours for what paints itself."""
    ink, palette, role = _INK[name], QPalette(), QPalette.ColorRole
    colors = {
        "back": (role.Window, role.Base, role.Button, role.ToolTipBase),
        "text": (role.WindowText, role.Text, role.ButtonText, role.ToolTipText),
        "quiet": (role.PlaceholderText,),
        "raised": (role.AlternateBase,),
        "chosen": (role.Highlight,),
        "focus": (role.Link,),
    }
    for key, roles in colors.items():
        for each in roles:
            palette.setColor(each, QColor(ink[key]))
    palette.setColor(role.HighlightedText, QColor(ink["text"]))
    return palette


def style_sheet(name: str) -> str:
    """The project's own sheet for one theme."""
    return _SHEET.format(**_INK[name if name in _INK else "dark"])
