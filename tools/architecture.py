"""The rooms of the package and who imports whom, read from the code, for docs/architecture.md.

    python tools/architecture.py

writes the picture and the table of that page anew. A room is a folder of nnunet_ext, or a file beside these folders.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "nnunet_ext"
PAGE = CHECKOUT / "docs" / "architecture.md"
BEGIN, END = "<!-- begin: python tools/architecture.py -->", "<!-- end -->"


def files_of_rooms(package: Path) -> dict[str, list[Path]]:
    """Room -> its Python files."""
    rooms: dict[str, list[Path]] = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        if not parts[0].startswith("__"):
            rooms.setdefault(parts[0], []).append(file)
    return rooms


def imported_modules(file: Path) -> Iterator[str]:
    """Names of the modules that a file imports, anywhere in it; for ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of_rooms(package: Path) -> dict[str, set[str]]:
    """Room -> rooms that it imports."""
    rooms = files_of_rooms(package)
    return {
        room: {
            parts[1]
            for file in files
            for parts in (name.split(".") for name in imported_modules(file))
            if parts[0] == package.name and len(parts) > 1 and parts[1] in rooms and parts[1] != room
        }
        for room, files in rooms.items()
    }


def floors(imports: dict[str, set[str]]) -> dict[str, int]:
    """Room -> its floor: 0 where it imports no other, else one above the highest that it imports.

    Raises:
        ValueError: Rooms import each other in a circle; it names them.
    """
    found: dict[str, int] = {}
    while len(found) < len(imports):
        ready = [room for room in imports if room not in found and imports[room] <= set(found)]
        if not ready:
            raise ValueError(f"Rooms in or above a circle of imports: {', '.join(sorted(set(imports) - set(found)))}")
        found |= {room: max((found[other] + 1 for other in imports[room]), default=0) for room in ready}
    return found


def without_detours(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports that no other way through the rooms implies."""
    floors(imports)  # no circles, so that the next line ends

    def reach(room: str) -> set[str]:
        return imports[room].union(*(reach(other) for other in imports[room]))

    return {room: others - set().union(*(reach(other) for other in others)) for room, others in imports.items()}


def rendered(package: Path) -> str:
    """Picture and table, as they stand in the page."""
    rooms, imports = files_of_rooms(package), imports_of_rooms(package)
    floor = floors(imports)
    order = sorted(imports, key=lambda room: (-floor[room], room))
    arrows = without_detours(imports)
    picture = [f"    {room} --> {other}" for room in order for other in sorted(arrows[room])]
    rows = []
    for room in order:
        file = package / room / "__init__.py" if (package / room).is_dir() else rooms[room][0]
        says = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
        rows.append(f"| `{room}` | {says} | {', '.join(sorted(imports[room]))} |")
    return "\n".join(
        [
            BEGIN, "```mermaid", "graph TD", *picture, "```", "",
            "| room | what is in it | imports |", "|---|---|---|", *rows, END,
        ]
    )  # fmt: skip


def replaced(page: str, block: str) -> str:
    """The page with this block in place of its own."""
    before, rest = page.split(BEGIN)
    return before + block + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), rendered(PACKAGE)), encoding="utf-8")
