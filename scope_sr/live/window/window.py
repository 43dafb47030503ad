"""The window of the live view: picture, toolbar, column of panels, status line."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.board import Note
from scope_sr.live.pipeline import Pipeline
from scope_sr.live.seen import Seen, Shown
from scope_sr.live.window.actions import ACTIONS, BY_NAME, GROUPS, Act, act_of
from scope_sr.live.window.asking import Asking
from scope_sr.live.window.bridge import Bridge
from scope_sr.live.window.deeds import Deeds
from scope_sr.live.window.directions import offset_px
from scope_sr.live.window.icons import SIDE, icon
from scope_sr.live.window.minimap import Minimap
from scope_sr.live.window.panels.banner import Banner
from scope_sr.live.window.panels.camera import CameraPanel
from scope_sr.live.window.panels.enhancement import EnhancementPanel
from scope_sr.live.window.panels.nuclei import NucleiPanel
from scope_sr.live.window.panels.parts import Column, Fold
from scope_sr.live.window.panels.snapshots import SnapshotsPanel
from scope_sr.live.window.panels.stage import StagePanel
from scope_sr.live.window.panels.status import StatusLine, under_the_cursor
from scope_sr.live.window.reading_order import in_reading_order
from scope_sr.live.window.readouts import Readouts
from scope_sr.live.window.remembering import keep, restore
from scope_sr.live.window.settings import Settings
from scope_sr.live.window.sheet import shown as shown_key
from scope_sr.live.window.theme import THEMES, Theme, dress
from scope_sr.live.window.view.canvas import Canvas
from scope_sr.live.window.view.pointing import Pointed
from scope_sr.modelfile import shipped
from scope_sr.software import NOTICE

COLUMN_PX = 318
LEAST = QtCore.QSize(900, 560)
MODES = tuple(act.name for act in ACTIONS if act.among == "mode")


class LiveWindow(QtWidgets.QMainWindow):
    """Shows what a pipeline leaves in its mailboxes, and tells it what is wanted.

    It never calls the microscope and never waits for a thread.

    Attributes
    ----------
    seen
        The frame on the screen; None before the first.
    actions
        Qt's actions by name, made of the table in :mod:`scope_sr.live.window.actions`.
    """

    saved = QtCore.Signal(object, object)  # path and picture of a snapshot, from the writer

    def __init__(
        self, pipeline: Pipeline, settings: Settings, asking: Asking | None = None
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.settings = settings
        self.seen: Seen | None = None
        self.theme: Theme = THEMES["dark"]
        self._asking = asking
        self._focus_px: tuple[float, float] | None = None
        self._held: Act | None = None
        self._notes: list[Note] = []
        self._closed = False
        self._make_parts()
        self.deeds = Deeds(self)
        self._make_actions()
        self._make_toolbar()
        self._make_menus()
        self._lay_out()
        self._connect()
        restore(self, settings)
        self.readouts = Readouts(self)
        self._bridge = Bridge(self.fetch)
        pipeline.notify = self._bridge.notify
        pipeline.board.say("notice", NOTICE, bad=False)
        self.canvas.setFocus()

    # pictures

    def fetch(self) -> None:
        """Take out what lies in the mailboxes, and show it."""
        shown = self.pipeline.shown.take()
        if shown is not None:
            self.seen = shown.seen
            before = self.canvas.show(shown)
            if before is not None:
                self.pipeline.pool.put(before.pixels)
        patches = self.pipeline.tray.take()
        if patches:
            self.canvas.lay(patches)
            now_s = time.monotonic()
            for patch in patches:
                if not patch.late:
                    self.pipeline.enhanced.add(now_s - patch.seen.arrived_s)
        notes = self.pipeline.board.notes()
        if notes != self._notes:
            self._notes = notes
            self.banner.tell(notes)

    def wish(self) -> None:
        """Tell the model thread what is wanted now."""
        disagreement = self.is_on("disagreement")
        model = self.enhancement_panel.picker.currentData()
        self.pipeline.wish(
            enhance=self.canvas.mode != "original" or self.nuclei_shown or disagreement,
            model=model if isinstance(model, str) else "auto",
            nuclei=self.nuclei_chosen if self.nuclei_shown else "",
            focus_px=self._focus_px,
            area_px=self.canvas.area_px,
            disagreement=disagreement,
        )

    def choose_model(self) -> None:
        """Take the model that the picker shows, and try it anew if it failed before."""
        self.wish()
        self.pipeline.model.again()

    # state that several parts ask for

    @property
    def objective(self) -> str:
        """Name of the objective in place, as the last frame says."""
        return self.seen.frame.objective if self.seen else ""

    @property
    def nuclei_shown(self) -> bool:
        """Whether nuclei are looked for and drawn."""
        return self.is_on("nuclei")

    def is_on(self, name: str) -> bool:
        """Say whether an action is on."""
        return self.actions_by_name[name].isChecked()

    def check(self, name: str, on: bool) -> None:
        """Show an action as on or off."""
        action = self.actions_by_name[name]
        if action.isChecked() != on:
            action.setChecked(on)

    def turn(self, name: str) -> bool:
        """Turn an action over; give what it is then."""
        self.check(name, not self.is_on(name))
        return self.is_on(name)

    def show_nuclei(self) -> None:
        """Draw the nuclei as the panel says."""
        panel = self.nuclei_panel
        self.canvas.set_nuclei(
            self.nuclei_shown,
            panel.fill.isChecked(),
            panel.outline.isChecked(),
            panel.opacity.number(),
        )

    def set_theme(self, theme: Theme) -> None:
        """Give the window other colours."""
        self.theme = theme
        app = QtWidgets.QApplication.instance()
        assert isinstance(app, QtWidgets.QApplication)  # noqa: S101 - there is no window without
        dress(app, theme)
        for name, action in self.actions_by_name.items():
            action.setIcon(icon(name, theme))
        for more in self.toolbar.findChildren(QtWidgets.QToolButton, "qt_toolbar_ext_button"):
            more.setIcon(icon("more", theme))  # Qt's own is dark on dark
        for part in (self.canvas, self.minimap, self.camera_panel, self.nuclei_panel):
            part.set_theme(theme)

    # events

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        act = act_of(event)
        if act is None or act.everywhere:
            super().keyPressEvent(event)
        elif act.ends is None:
            if not event.isAutoRepeat() or act.group in ("Stage", "View"):
                act.does(self.deeds)
        elif not event.isAutoRepeat():
            self._held = act
            act.does(self.deeds)

    def keyReleaseEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        if self._held is not None and act_of(event) is self._held and not event.isAutoRepeat():
            self._let_go()
        super().keyReleaseEvent(event)

    def changeEvent(self, event: QtCore.QEvent) -> None:  # noqa: D102, N802
        if event.type() == QtCore.QEvent.Type.ActivationChange:
            self._let_go()  # whose release another window gets
        super().changeEvent(event)

    def showEvent(self, event: QtGui.QShowEvent) -> None:  # noqa: D102, N802
        super().showEvent(event)
        self.order_tabs()

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:  # noqa: D102, N802
        if not self._closed:
            self._closed = True
            self.readouts.stop()
            keep(self, self.settings)
            if self._asking:
                self._asking.close()
            if self.pipeline.writer.recording is not None:
                self.pipeline.writer.end_recording()
            self.pipeline.close()
        event.accept()

    def order_tabs(self) -> None:
        """Let Tab go through the window as one reads it."""
        chain = in_reading_order(self.toolbar)
        chain += [self.banner.close_, self.canvas]
        for fold in self.folds:
            chain += [fold.head, *in_reading_order(fold.inside)]
        for before, after in itertools.pairwise(chain):
            QtWidgets.QWidget.setTabOrder(before, after)

    # putting it together

    def _make_parts(self) -> None:
        self.canvas = Canvas()
        self.minimap = Minimap()
        self.minimap.setAccessibleName("Map of the fields that were visited")
        self.banner = Banner()
        self.status = StatusLine()
        self.camera_panel = CameraPanel()
        self.stage_panel = StagePanel()
        self.enhancement_panel = EnhancementPanel()
        self.nuclei_panel = NucleiPanel()
        self.snapshots_panel = SnapshotsPanel()
        self.nuclei_chosen = "auto"
        map_panel = QtWidgets.QWidget()
        middle = QtCore.Qt.AlignmentFlag.AlignHCenter
        QtWidgets.QVBoxLayout(map_panel).addWidget(self.minimap, 0, middle)
        self.folds = [
            Fold("Camera", self.camera_panel),
            Fold("Objective and stage", self.stage_panel),
            Fold("Map", map_panel),
            Fold("Enhancement", self.enhancement_panel),
            Fold("Nuclei", self.nuclei_panel),
            Fold("Snapshots", self.snapshots_panel),
        ]

    def _make_actions(self) -> None:
        self.actions_by_name: dict[str, QtGui.QAction] = {}
        sets: dict[str, QtGui.QActionGroup] = {}
        for act in ACTIONS:
            action = self._action(act)
            if act.among:
                sets.setdefault(act.among, QtGui.QActionGroup(self)).addAction(action)
            self.actions_by_name[act.name] = action

    def _action(self, act: Act) -> QtGui.QAction:
        """Make Qt's action; a plain key stands beside its words but is no shortcut of Qt's.

        Qt would take it away from the field somebody writes a number in.
        """
        key = shown_key(act)
        action = QtGui.QAction(act.words, self)
        action.setCheckable(act.checks)
        action.setToolTip(f"{act.tells} {f'({key})' if key else ''}")
        action.setStatusTip("")
        if act.everywhere or act.name == "keys":
            action.setShortcuts([QtGui.QKeySequence(one) for one in act.keys if len(one) > 1])
        if act.checks and not act.among:
            action.triggered.connect(lambda _=False: self._trigger_check(act))
        else:
            action.triggered.connect(lambda _=False: act.does(self.deeds))
        self.addAction(action)
        return action

    def _trigger_check(self, act: Act) -> None:
        """Undo what Qt checked by itself: the deed turns it over, as it does for a key."""
        self.actions_by_name[act.name].toggle()
        act.does(self.deeds)

    def _make_toolbar(self) -> None:
        self.toolbar = bar = QtWidgets.QToolBar("Tools")
        bar.setObjectName("tools")
        bar.setMovable(False)
        bar.setContextMenuPolicy(QtCore.Qt.ContextMenuPolicy.PreventContextMenu)
        bar.setIconSize(QtCore.QSize(SIDE, SIDE))
        bar.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        order = ("freeze", "snapshot", "record", "", *MODES, "", "nuclei", "", "fit",
                 "one_to_one", "full_screen", "keys")  # fmt: skip
        for name in order:
            if not name:
                bar.addSeparator()
                continue
            if name == "full_screen":
                bar.addWidget(_stretch())
            action = self.actions_by_name[name]
            bar.addAction(action)
            pressed = bar.widgetForAction(action)
            pressed.setObjectName(name)
            small = name in ("fit", "one_to_one", "full_screen", "keys")
            if small and isinstance(pressed, QtWidgets.QToolButton):
                pressed.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonIconOnly)
            pressed.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
            pressed.setAccessibleName(BY_NAME[name].words)
            pressed.setAccessibleDescription(BY_NAME[name].tells)
        self.addToolBar(bar)

    def _make_menus(self) -> None:
        for group in GROUPS:
            menu = self.menuBar().addMenu(f"&{group}")
            menu.setToolTipsVisible(True)
            for act in ACTIONS:
                if act.group == group and not act.name.endswith("_far"):
                    self._add_to(menu, act)

    def _add_to(self, menu: QtWidgets.QMenu, act: Act) -> None:
        """Put an action into a menu, with its key where it is no shortcut of Qt's."""
        action = self.actions_by_name[act.name]
        key = shown_key(act)
        if key and not act.everywhere:
            action.setText(f"{act.words}\t{key}")
            action.setIconText(act.words)
        menu.addAction(action)

    def _lay_out(self) -> None:
        self.setWindowTitle(f"{self.pipeline.stand.name} - scope-sr live")
        self.setMinimumSize(LEAST)
        scale = max(self.fontMetrics().height() / 16, 1.0)
        self.column = Column(self.folds, round(COLUMN_PX * scale))
        self.column.setAccessibleName("Panels")
        middle = QtWidgets.QHBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self.canvas, 1)
        middle.addWidget(self.column)
        whole = QtWidgets.QWidget()
        rows = QtWidgets.QVBoxLayout(whole)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(self.banner)
        rows.addLayout(middle, 1)
        rows.addWidget(self.status)
        self.setCentralWidget(whole)
        self.enhancement_panel.picker.offer([name for name in shipped() if name != "nuclei"])

    def _connect(self) -> None:
        canvas, deeds, stand = self.canvas, self.deeds, self.pipeline.stand
        canvas.offset_px = lambda before, now: offset_px(stand.record, before, now)
        canvas.objective_words = self._objective_in_words
        canvas.pointed.connect(self._point)
        canvas.centre_asked.connect(deeds.centre)
        canvas.dragged.connect(deeds.drag)
        canvas.picked.connect(deeds.pick)
        canvas.painted.connect(self._painted)
        self.minimap.go_asked.connect(self.pipeline.hands.go)
        self._connect_panels(deeds)
        self.saved.connect(self._show_saved)

    def _connect_panels(self, deeds: Deeds) -> None:
        hands, camera, stage = self.pipeline.hands, self.camera_panel, self.stage_panel
        camera.exposure_asked.connect(hands.set_exposure)
        camera.gain_asked.connect(hands.set_gain)
        camera.blank_asked.connect(deeds.white_balance)
        camera.neutral_asked.connect(deeds.neutral_point)
        camera.reset_asked.connect(deeds.reset_balance)
        stage.objective_asked.connect(hands.turn_to)
        stage.jog_asked.connect(deeds.jog)
        stage.focus_asked.connect(deeds.focus)
        stage.stop_asked.connect(deeds.stop)
        self.enhancement_panel.picker.chosen.connect(lambda _: self.choose_model())
        self.enhancement_panel.picker.file_asked.connect(deeds.open_model)
        self.nuclei_panel.style_changed.connect(self.show_nuclei)
        self.snapshots_panel.opened.connect(deeds.open_folder)

    def _objective_in_words(self, name: str) -> str:
        rig = self.pipeline.stand.rig
        lens = rig.objectives.get(name) if rig else None
        return f"{lens.magnification:g}×/{lens.numerical_aperture:.2f}" if lens else name

    def _painted(self, shown: Shown) -> None:
        self.pipeline.original.add(time.monotonic() - shown.seen.arrived_s)

    def _show_saved(self, path: Path, rgb: object) -> None:
        self.snapshots_panel.add(path, rgb)  # type: ignore[arg-type]

    def _point(self, pointed: Pointed | None) -> None:
        """Write where the cursor is, and let the model begin there."""
        self.status.tell(**under_the_cursor(pointed, self.seen))
        self._focus_px = (pointed.row, pointed.column) if pointed is not None else None
        self.pipeline.wish(focus_px=self._focus_px)

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None and held.ends is not None:
            held.ends(self.deeds)


def _stretch() -> QtWidgets.QWidget:
    """Make a gap that pushes what follows to the right."""
    gap = QtWidgets.QWidget()
    policy = QtWidgets.QSizePolicy.Policy
    gap.setSizePolicy(policy.Expanding, policy.Preferred)
    return gap
