"""Users' modules, by path or dotted name, and the app in them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from angzarr.app import App
from angzarr.cli.outcome import FAILED, USAGE, fail
from angzarr.handlers import Aggregate, ProcessManager, Projector, Saga, Upcaster
from angzarr.parts import Definition

BASES = (Aggregate, ProcessManager, Projector, Saga, Upcaster)


def load_app(text: str) -> App:
    """The app of a module: `app.py`, `app.py:name`, `package.module` or `package.module:name`.

    Without a name it is the module's only App object; without one of those, an App of all
    classes of components that the module has. Ends the command where there is
    nothing, or a choice.
    """
    path, _, name = text.partition(":")
    module = _load(path)
    if name:
        found = getattr(module, name, None)
        if isinstance(found, App):
            return found
        what = "has no" if found is None else "is no App:"
        raise fail(f"{path} {what} {name}", USAGE)
    apps = {key: value for key, value in vars(module).items() if isinstance(value, App)}
    if len(set(map(id, apps.values()))) > 1:
        raise fail(f"{path} has several apps: name one, as in {path}:{next(iter(apps))}", USAGE)
    if apps:
        return next(iter(apps.values()))
    definitions = _definitions(module)
    if not definitions:
        raise fail(
            f"{path} has neither an App nor an aggregate; write a class Account(Aggregate, "
            f'domain="account") or app = App(Account) in it',
            USAGE,
        )
    return App(*definitions)


def _definitions(module: ModuleType) -> list[Definition]:
    """The module's classes of components, bases of others left out, each once."""
    classes: list[Definition] = []
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, BASES) and value not in (*BASES, *classes):
            classes.append(value)
    return [c for c in classes if not any(c is not o and issubclass(o, c) for o in classes)]


def _load(text: str) -> ModuleType:
    path = Path(text)
    is_file = path.is_file()
    if not is_file and (path.suffix == ".py" or not all(map(str.isidentifier, text.split(".")))):
        raise fail(f"there is no file {text}", USAGE)
    name, directory = _dotted(path.resolve()) if is_file else (text, Path.cwd())
    sys.path.insert(0, str(directory))
    try:
        if is_file and name in sys.modules and not _is_from(sys.modules[name], path):
            return _load_as(f"angzarr_app_{path.stem}", path)
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise fail(f"there is no file or module {text}", USAGE) from None
        raise fail(f"{text} can't be loaded: {_where(error)}", FAILED) from None


def _is_from(module: ModuleType, path: Path) -> bool:
    return bool(module.__file__) and Path(module.__file__ or "").resolve() == path.resolve()


def _load_as(name: str, path: Path) -> ModuleType:
    """The file under another name, since its own is that of a module which is loaded already."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file", name=name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _dotted(path: Path) -> tuple[str, Path]:
    """The module's dotted name and the directory it is found from: that outside of its packages."""
    parts = [path.stem]
    directory = path.parent
    while (directory / "__init__.py").is_file():
        parts.insert(0, directory.name)
        directory = directory.parent
    return ".".join(parts), directory


def _where(error: Exception) -> str:
    """The error with the innermost place in the user's own files."""
    skipped = ("importlib", "/angzarr/handlers/", "/angzarr/cli/")
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not any(part in f.filename for part in skipped)]
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {kind}: {error.msg}"
    place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{place}{kind}: {error}"
