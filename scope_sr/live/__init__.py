"""The live view: camera, generator, nuclei, screen, each at its own pace.

::

    camera thread ──► Latest[Shown] ──────────────────► paint    the original, always live
         └──────────► Latest[Seen] ──► model ──► Tray ──► paint    enhanced, where it belongs
    hands thread  ◄── moves, exposures, turns of the nosepiece ◄── panels
    writer thread ◄── snapshots and recordings

Only :mod:`scope_sr.live.window` knows of Qt; all else runs as well without a screen.
"""
