"""JSON of a user: one message that names the file, whatever is wrong with it."""

import pytest

from nnunet_ext.errors import InputError
from nnunet_ext.files.json_object import read_json_object


def test_content(tmp_path):
    (tmp_path / "a.json").write_text('{"labels": {"ä": 1}}', encoding="utf-8")
    assert read_json_object(tmp_path / "a.json", ["labels"]) == {"labels": {"ä": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"labels": {"a"', r"a\.json is no JSON, perhaps it was cut off"),
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1]", "holds a JSON list"),
        (b"{}", "has no labels and no channel_names"),
        (b'{"labels": {}, "channel_names": [1]}', "has no channel_names"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json_object(tmp_path / "a.json", ["labels", "channel_names"])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.json cannot be read: No such file"):
        read_json_object(tmp_path / "a.json")
