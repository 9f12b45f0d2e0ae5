"""Reading pickle files without running anything in them."""

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from nnunet_ext.errors import InputError


class Name(NamedTuple):
    """A function or class that a pickle names; it cannot be called, so that no pickle can call it either.

    Attributes:
        module: Module that it says the object is in.
        name: Name there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def read_pickle(file: Path, known: Collection[Name] = ()) -> Any:
    """Content of a pickle of plain data: numbers, text, lists, tuples, dictionaries, and the names of known objects.

    Args:
        file: The file.
        known: Functions and classes that it may name. They appear as :class:`Name`; nothing is imported.

    Raises:
        InputError: It cannot be read, is no pickle, or names anything else; the message says what.
    """
    try:
        with file.open("rb") as stream:
            return _Unpickler(stream, known).load()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from None
    except _UnknownNameError as error:
        raise InputError(
            f"{file}: wants to use {error.args[0]}, which is not known here. It is not read, because it could run any "
            "program."
        ) from None
    except Exception as error:  # pickle raises errors of many types, depending on which byte is damaged
        raise InputError(f"{file}: no pickle of plain data ({type(error).__name__}: {error}).") from None


class _UnknownNameError(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, known: Collection[Name]):
        super().__init__(stream)
        self.known = known

    def find_class(self, module: str, name: str) -> Name:
        found = Name(module, name)
        if found not in self.known:
            raise _UnknownNameError(str(found))
        return found
