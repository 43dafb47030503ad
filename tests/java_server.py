"""A double of Micro-Manager's Java server: pyjavaz's protocol in front of a real MMCore.

The client under test is the real one, ``pycromanager.Core(port=...)``. Behind this server stands
pymmcore with Micro-Manager's demo configuration, in a process of its own, so that it can hang and
die as Micro-Manager does. Values take Java's shape on the way: names and argument types of MMCoreJ,
pixels in one row, vectors as objects, 10.0 written as 10.

    python tests/java_server.py --port 4827 --faults '{"delay": {"setXYPosition": 2}}'

It prints its port and serves until its standard input ends; each line there is JSON of faults to
change while it runs, answered by a line of JSON that says how it is. Tests use :func:`serving`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq

VERSION = "5.1.0"  # what pyjavaz 1.2.8 expects of the server
CORE = "mmcorej.CMMCore"
TEXT = "java.lang.String"

# What SWIG makes of the core's C++ types in MMCoreJ; a signature with any other type is left out
JAVA_TYPES = {
    None: "void",
    "bool": "boolean",
    "bool const": "boolean",
    "char const *": TEXT,
    "std::string": TEXT,
    "double": "double",
    "double const": "double",
    "float const": "float",
    "int": "int",
    "long": "int",
    "long const": "int",
    "long long": "long",
    "unsigned char": "short",
    "unsigned int": "long",
    "unsigned long": "long",
    "void *": "java.lang.Object",
    "Configuration": "mmcorej.Configuration",
    "DoubleVector": "mmcorej.DoubleVector",
    "LongVector": "mmcorej.LongVector",
    "Metadata": "mmcorej.Metadata",
    "StrVector": "mmcorej.StrVector",
    "DeviceInitializationState": "mmcorej.DeviceInitializationState",
    "MM::DeviceDetectionStatus": "mmcorej.DeviceDetectionStatus",
    "MM::DeviceType": "mmcorej.DeviceType",
    "MM::PropertyType": "mmcorej.PropertyType",
}
ELEMENTS = {
    "mmcorej.DoubleVector": "double",
    "mmcorej.LongVector": "int",
    "mmcorej.StrVector": TEXT,
}
# MMCoreJ answers these through arrays passed in, which the client cannot read back, or never
NOT_SERVED = {"getXYPosition", "getROI", "getMultiROI", "getGalvoPosition", "registerCallback"}
ADDED_BY_MMCOREJ = [
    ("getROI", (), "java.awt.Rectangle"),
    ("getXYStagePosition", (), "java.awt.geom.Point2D$Double"),
    ("getTaggedImage", (), "mmcorej.TaggedImage"),
    ("getLastTaggedImage", (), "mmcorej.TaggedImage"),
    ("getNBeforeLastTaggedImage", ("long",), "mmcorej.TaggedImage"),
    ("popNextTaggedImage", (), "mmcorej.TaggedImage"),
]

Method = dict[str, Any]  # name, return-type, arguments, as the protocol names them
Reply = dict[str, Any]


@dataclass
class Faults:
    """What goes wrong, by the core's own (Java) method names."""

    delay: dict[str, float] = field(default_factory=dict)  # s before a method, or "connect"
    error: dict[str, str] = field(default_factory=dict)  # a method fails with this text
    die_on: str = ""  # the process ends when this method is called
    die_after: int = 0  # and when this many methods were called; 0 is never
    version: str = VERSION
    drop_every: int = 0  # every n-th frame of a stream is lost; 0 is none
    live_on: bool = False  # the camera runs already when the server starts
    stops_short_um: float = 0.0  # of the X that was asked for
    nosepiece_label: str = ""  # what the nosepiece says whatever it does

    def update(self, changes: dict[str, Any]) -> None:
        unknown = changes.keys() - {known.name for known in dataclasses.fields(self)}
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
        for name, value in changes.items():
            setattr(self, name, value)


@dataclass
class Thing:
    """An object that stays here; the client gets its method list and a hash code."""

    java_class: str
    api: list[Method]
    call: Callable[[str, list[Any]], Any]
    fields: dict[str, Any] = field(default_factory=dict)
    inner: Any = None  # what the core takes in its place as an argument


def method(name: str, arguments: Sequence[str], returns: str) -> Method:
    return {"name": name, "arguments": list(arguments), "return-type": returns}


def thing(
    java_class: str,
    methods: dict[str, tuple[Sequence[str], str, Callable[..., Any]]] | None = None,
    fields: dict[str, Any] | None = None,
    inner: Any = None,
) -> Thing:
    methods = methods or {}
    api = [method(name, arguments, returns) for name, (arguments, returns, _) in methods.items()]
    return Thing(java_class, api, lambda name, args: methods[name][2](*args), fields or {}, inner)


def vector(java_class: str, values: Sequence[Any]) -> Thing:
    element = ELEMENTS[java_class]
    methods = {
        "size": ((), "int", lambda: len(values)),
        "get": (("int",), element, lambda index: values[index]),
    }
    return thing(java_class, methods)


def configuration(found: Any) -> Thing:
    methods = {
        "size": ((), "long", found.size),
        "getSetting": (
            ("long",),
            "mmcorej.PropertySetting",
            lambda index: setting(found.getSetting(index)),
        ),
    }
    return thing("mmcorej.Configuration", methods, inner=found)


def setting(found: Any) -> Thing:
    names = ("getDeviceLabel", "getPropertyName", "getPropertyValue")
    return thing(
        "mmcorej.PropertySetting", {name: ((), TEXT, getattr(found, name)) for name in names}
    )


def metadata() -> Thing:
    import pymmcore

    found = pymmcore.Metadata()
    methods = {
        "GetKeys": ((), "mmcorej.StrVector", lambda: vector("mmcorej.StrVector", found.GetKeys())),
        "HasTag": ((TEXT,), "boolean", found.HasTag),
        "Serialize": ((), TEXT, found.Serialize),
    }
    return thing("mmcorej.Metadata", methods, inner=found)


def enumerated(java_class: str, value: int) -> Thing:
    return thing(java_class, {"swigValue": ((), "int", lambda: value)})


@functools.cache
def core_api() -> list[Method]:
    """List the core's methods as MMCoreJ has them, from what SWIG wrote for Python."""
    import pymmcore

    found = []
    for name, function in vars(pymmcore.CMMCore).items():
        if name in NOT_SERVED or not callable(function):
            continue
        pattern = rf"{name}\(CMMCore self(?:, )?(.*)\)(?: -> (.*))?"
        for line in (function.__doc__ or "").splitlines():
            if match := re.fullmatch(pattern, line.strip()):
                found += _overload(name, match[1], match[2])
    return found + [method(*spec) for spec in ADDED_BY_MMCOREJ]


def _overload(name: str, arguments: str, returns: str | None) -> list[Method]:
    kinds = [text.rpartition(" ")[0] for text in arguments.split(", ") if text]
    if returns not in JAVA_TYPES or not set(kinds) <= JAVA_TYPES.keys():
        return []
    return [method(name, [JAVA_TYPES[kind] for kind in kinds], JAVA_TYPES[returns])]


class Look:
    """What the camera sees: nothing changed, as the stock demo camera has it."""

    def snapped(self, raw: np.ndarray) -> np.ndarray:
        return raw

    def streamed(self, raw: np.ndarray, number: int) -> np.ndarray:
        return raw


class SpecimenLook(Look):
    """The virtual slide of a rig, where the core's own stage and objective are."""

    def __init__(self, core: Any, rig_file: Path) -> None:
        from scope_sr.config import parse_rig
        from scope_sr.microscope import demo
        from scope_sr.specimen.scene import Scene

        text = rig_file.read_text(encoding="utf-8")
        rig = parse_rig(text, source=rig_file.name, folder=rig_file.parent)
        demo._set_up(core, rig)
        self._core = demo.RenderedCore(core, rig, Scene(rig))

    def snapped(self, raw: np.ndarray) -> np.ndarray:
        return self._core.get_image()

    def streamed(self, raw: np.ndarray, number: int) -> np.ndarray:
        return self._core.render_live(raw, number)


class JavaCore:
    """MMCoreJ as pymmcore can play it: the same methods, Java's values, and the faults."""

    def __init__(self, core: Any, look: Look, faults: Faults) -> None:
        self._core = core
        self._look = look
        self._faults = faults
        self._returns = {spec["name"]: spec["return-type"] for spec in core_api()}
        self._lock = threading.Lock()  # the look's generator is one, the sockets are several
        self._calls = 0

    def thing(self) -> Thing:
        return Thing(CORE, core_api(), self.call)

    def call(self, name: str, args: list[Any]) -> Any:
        """Run a method, after whatever is to go wrong with it."""
        self._calls += 1
        faults = self._faults
        if name == faults.die_on or self._calls == faults.die_after:
            os._exit(1)
        time.sleep(faults.delay.get(name, 0))
        if name in faults.error:
            raise RuntimeError(faults.error[name])
        inner = [value.inner if isinstance(value, Thing) else value for value in args]
        own = getattr(self, f"_{name}", None)
        value = own(*inner) if own else getattr(self._core, name)(*inner)
        return self._javafied(value, self._returns[name])

    def _javafied(self, value: Any, kind: str) -> Any:
        if kind in ELEMENTS:
            return vector(kind, value)
        if kind == "mmcorej.Configuration":
            return configuration(value)
        if kind.startswith("mmcorej.") and isinstance(value, int):
            return enumerated(kind, value)
        return value

    def _setXYPosition(self, *args: Any) -> None:  # noqa: N802 - named by the core
        *device, x_um, y_um = args
        self._core.setXYPosition(*device, x_um - self._faults.stops_short_um, y_um)

    def _getStateLabel(self, device: str) -> str:  # noqa: N802
        label = self._core.getStateLabel(device)
        return self._faults.nosepiece_label or label if device == "Objective" else label

    def _getROI(self) -> Thing:  # noqa: N802
        names = ("x", "y", "width", "height")
        return thing(
            "java.awt.Rectangle", fields=dict(zip(names, self._core.getROI(), strict=True))
        )

    def _getXYStagePosition(self) -> Thing:  # noqa: N802
        x_um, y_um = self._core.getXYPosition()
        return thing("java.awt.geom.Point2D$Double", fields={"x": x_um, "y": y_um})

    def _getImage(self, *channel: int) -> np.ndarray:  # noqa: N802
        raw = self._core.getImage(*channel)
        with self._lock:
            return self._look.snapped(raw)

    def _getTaggedImage(self) -> Thing:  # noqa: N802
        pixels = self._getImage()
        height, width = pixels.shape
        kind = {1: "GRAY8", 2: "GRAY16", 4: "RGB32"}[pixels.itemsize]
        return self._tagged(pixels, {"Width": width, "Height": height, "PixelType": kind})

    def _getLastImage(self) -> np.ndarray:  # noqa: N802
        return self._streamed(self._last)[0]

    def _getLastImageMD(self, tags: Any) -> np.ndarray:  # noqa: N802
        return self._streamed(self._last, tags)[0]

    def _getLastTaggedImage(self) -> Thing:  # noqa: N802
        return self._tagged(*self._streamed(self._last))

    def _getNBeforeLastTaggedImage(self, count: int) -> Thing:  # noqa: N802
        return self._tagged(*self._streamed(lambda md: self._core.getNBeforeLastImageMD(count, md)))

    def _popNextImage(self) -> np.ndarray:  # noqa: N802
        return self._streamed(self._pop)[0]

    def _popNextTaggedImage(self) -> Thing:  # noqa: N802
        return self._tagged(*self._streamed(self._pop))

    def _last(self, tags: Any) -> np.ndarray:
        """Fetch the newest frame, or the one before when the newest is one of those to lose."""
        raw = self._core.getLastImageMD(tags)
        return self._core.getNBeforeLastImageMD(1, tags) if self._lost(tags) else raw

    def _pop(self, tags: Any) -> np.ndarray:
        raw = self._core.popNextImageMD(tags)
        return self._core.popNextImageMD(tags) if self._lost(tags) else raw

    def _lost(self, tags: Any) -> bool:
        every = self._faults.drop_every
        return bool(every) and (_number(tags) + 1) % every == 0

    def _streamed(
        self, fetch: Callable[[Any], np.ndarray], tags: Any = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        import pymmcore

        tags = pymmcore.Metadata() if tags is None else tags
        raw = fetch(tags)
        with self._lock:
            pixels = self._look.streamed(raw, _number(tags))
        return pixels, {key: tags.GetSingleTag(key).GetValue() for key in tags.GetKeys()}

    def _tagged(self, pixels: np.ndarray, tags: dict[str, Any]) -> Thing:
        """Make a tagged image; MMCoreJ adds the whole system state to its tags."""
        state = self._core.getSystemStateCache()
        settings = (state.getSetting(index) for index in range(state.size()))
        cached = {
            f"{s.getDeviceLabel()}-{s.getPropertyName()}": s.getPropertyValue() for s in settings
        }
        return thing("mmcorej.TaggedImage", fields={"pix": pixels, "tags": {**cached, **tags}})


def _number(tags: Any) -> int:
    return int(tags.GetSingleTag("ImageNumber").GetValue())


@dataclass
class Value:
    """What a method or field gave, not yet written."""

    value: Any


class JavaServer:
    """The protocol: one REP socket per lane, each with a thread, and the objects handed out."""

    def __init__(self, core: JavaCore, faults: Faults) -> None:
        self._core = core
        self._faults = faults
        self._context = zmq.Context()
        self._keys = itertools.count(1)
        self._port = 0
        self.objects: dict[str, Thing] = {}
        self.messages = 0
        self._commands = {
            "connect": self._connect,
            "get-constructors": self._get_constructors,
            "constructor": self._constructor,
            "run-method": self._run_method,
            "get-field": self._get_field,
            "destructor": self._destructor,
        }

    def listen(self, port: int) -> int:
        """Serve one more socket, on this port or for 0 any free one."""
        socket = self._context.socket(zmq.REP)
        socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        bound = int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._port = max(self._port, bound)
        threading.Thread(target=self._serve, args=(socket, bound), daemon=True).start()
        return bound

    def _listen_next(self) -> int:
        """Serve a second lane on the next port that is free, as the Java server does."""
        for port in range(self._port + 1, self._port + 100):
            with contextlib.suppress(zmq.ZMQError):
                return self.listen(port)
        raise RuntimeError("no free port")

    def _serve(self, socket: zmq.Socket, port: int) -> None:
        while True:
            message = json.loads(socket.recv_multipart()[0].decode("iso-8859-1"))
            self.messages += 1
            binary: list[bytes] = []
            try:
                reply = self._commands[message["command"]](message, port)
                if isinstance(reply, Value):
                    reply = self._encoded(reply.value, port, binary)
            except Exception as error:  # noqa: BLE001 - whatever fails is the client's to hear
                reply = {"type": "exception", "value": _java_text(error, message)}
            socket.send_multipart([json.dumps(reply).encode("iso-8859-1"), *binary])

    def _connect(self, message: Reply, port: int) -> Reply:
        time.sleep(self._faults.delay.get("connect", 0))
        return {"type": "none", "version": self._faults.version}

    def _get_constructors(self, message: Reply, port: int) -> Reply:
        return {"type": "none", "api": [{"name": message["classpath"], "arguments": []}]}

    def _constructor(self, message: Reply, port: int) -> Reply:
        made = {CORE: self._core.thing, "mmcorej.Metadata": metadata}[message["classpath"]]()
        return self._handed_out(made, self._listen_next() if message.get("new-port") else port)

    def _run_method(self, message: Reply, port: int) -> Value:
        found = self.objects[message["hash-code"]]
        args = [
            self.objects[value["hash-code"]] if isinstance(value, dict) else value
            for value in message["arguments"]
        ]
        return Value(found.call(message["name"], args))

    def _get_field(self, message: Reply, port: int) -> Value:
        return Value(self.objects[message["hash-code"]].fields[message["name"]])

    def _destructor(self, message: Reply, port: int) -> Reply:
        del self.objects[message["hash-code"]]
        return {"type": "none"}

    def _handed_out(self, found: Thing, port: int) -> Reply:
        key = f"{next(self._keys):x}"
        self.objects[key] = found
        return {
            "type": "unserialized-object",
            "class": found.java_class,
            "hash-code": key,
            "port": port,
            "interfaces": [found.java_class, "java.lang.Object"],
            "fields": list(found.fields),
            "api": found.api,
        }

    def _encoded(self, value: Any, port: int, binary: list[bytes]) -> Reply:
        """Write a value as the Java server does; pixels go beside the message."""
        if value is None:
            return {"type": "none"}
        if isinstance(value, Thing):
            return self._handed_out(value, port)
        if isinstance(value, np.ndarray):
            return self._pixels(value, binary)
        if isinstance(value, dict):
            return {"type": "object", "class": "JSONObject", "value": json.dumps(value)}
        if isinstance(value, str):
            return {"type": "string", "value": value}
        return {"type": "primitive", "value": _as_org_json(value)}

    def _pixels(self, pixels: np.ndarray, binary: list[bytes]) -> Reply:
        """One row of Java shorts or bytes; colour is four bytes a pixel: B, G, R, 0."""
        key = next(self._keys)
        binary += [key.to_bytes(4, sys.byteorder), np.ascontiguousarray(pixels).tobytes()]
        kind = "short-array" if pixels.itemsize == 2 else "byte-array"
        return {"type": kind, "value": f"[B@{key:x}"}


def _as_org_json(value: float | bool) -> float | bool:
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _java_text(error: Exception, message: Reply) -> str:
    name = message.get("name", message["command"])
    return (
        f"java.lang.Exception: {error}\n"
        f"mmcorej.MMCoreJJNI.CMMCore_{name}(Native Method)\n"
        f"mmcorej.CMMCore.{name}(CMMCore.java:1)\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--rig", type=Path, help="show this rig's specimen, not the stock waves")
    parser.add_argument("--faults", type=json.loads, default={}, help="JSON, see Faults")
    options = parser.parse_args()
    faults = Faults()
    faults.update(options.faults)
    core = _demo_core()
    look = SpecimenLook(core, options.rig) if options.rig else Look()
    java_core = JavaCore(core, look, faults)
    server = JavaServer(java_core, faults)
    if faults.live_on:
        core.startContinuousSequenceAcquisition(0)
    print(server.listen(options.port), flush=True)  # noqa: T201 - who started us waits for it
    for line in sys.stdin:
        faults.update(json.loads(line))
        state = {"messages": server.messages, "objects": len(server.objects)}
        print(json.dumps(state), flush=True)  # noqa: T201
    os._exit(0)  # threads that wait on sockets would hold an orderly exit


def _demo_core() -> Any:
    import mm_test_adapters
    from mmpycorex import Core, create_core_instance

    create_core_instance(
        mm_test_adapters.device_adapter_path(),
        "MMConfig_demo.cfg",
        python_backend=True,
        buffer_size_mb=64,
    )
    return Core()


class Running:
    """A server in a process of its own, from where the tests stand."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self._line())

    def change(self, **faults: Any) -> dict[str, int]:
        """Change faults; tell how many messages came so far and objects the client holds."""
        self.process.stdin.write(json.dumps(faults) + "\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the server ended; its standard error says why")
        return line


@contextlib.contextmanager
def serving(*, port: int = 0, rig: Path | None = None, **faults: Any) -> Iterator[Running]:
    """Run a server with these faults until the block ends; see :class:`Faults`."""
    command = [sys.executable, __file__, "--port", str(port), "--faults", json.dumps(faults)]
    command += ["--rig", str(rig)] if rig else []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
