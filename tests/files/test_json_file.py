"""JSON files that may be missing or damaged."""

import pytest

from nnunet_ext.errors import InputError
from nnunet_ext.files.json_file import read_json_object


def test_object_is_read(tmp_path):
    (tmp_path / "plans.json").write_text('{"a": "ä"}', encoding="utf-8")
    assert read_json_object(tmp_path / "plans.json") == {"a": "ä"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, r"cannot be read \(No such file"),
        (b'{"a": 1', "not JSON, perhaps cut off"),
        (b"", "not JSON, perhaps cut off"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[1]", "not what nnU-Net writes"),
    ],
)
def test_other_files_are_named_with_what_is_wrong(content, problem, tmp_path):
    if content is not None:
        (tmp_path / "plans.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"plans\.json: {problem}"):
        read_json_object(tmp_path / "plans.json")
