from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_demo.config import FileConfig
from browser_demo.errors import FileRefused
from browser_demo.peer.store import FileStore, safe_name

SMALL = FileConfig(max_file=100, max_stored=250, max_files=3, max_transfers=2, sample_size=50)


def put(store: FileStore, name: str, data: bytes) -> Path:
    incoming = store.begin(name, len(data))
    incoming.write(data)
    assert incoming.finish() == hashlib.sha256(data).hexdigest()
    store.keep(incoming)
    return incoming.path


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\evil.exe", "evil.exe"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("a\x00b\n\u202ec", "abc"),
        ("x" * 1000, "x" * 120),
        ("\N{GRINNING FACE}" * 100, "\N{GRINNING FACE}" * 63),
    ],
)
def test_names_cannot_leave_the_folder(name: str, safe: str) -> None:
    assert safe_name(name, 120) == safe


@given(st.text(max_size=300))
def test_any_name_becomes_one_plain_component(name: str) -> None:
    safe = safe_name(name, 40)

    assert 1 <= len(safe) <= 40
    assert len(safe.encode()) <= 255
    assert not set(safe) & set('/\\\0<>:"|?*')
    assert safe not in (".", "..")
    assert not safe.startswith(".")


def test_everything_is_gone_after_the_end() -> None:
    with FileStore(SMALL) as store:
        path = put(store, "a", b"abc")
        assert path.read_bytes() == b"abc"

    assert not path.exists()
    assert not path.parent.parent.exists()


def test_oldest_files_make_room() -> None:
    with FileStore(SMALL) as store:
        paths = [put(store, f"{number}", bytes(90)) for number in range(3)]

        assert [path.exists() for path in paths] == [False, True, True]
        assert store.received == tuple(paths[1:])


def test_number_of_files_is_bounded() -> None:
    with FileStore(SMALL) as store:
        for number in range(10):
            put(store, f"{number}", b"x")

        assert [path.name for path in store.received] == ["7", "8", "9"]


@pytest.mark.parametrize("size", [101, -1])
def test_too_large_a_file_is_refused(size: int) -> None:
    with FileStore(SMALL) as store, pytest.raises(FileRefused, match="100 bytes"):
        store.begin("a", size)


def test_too_many_at_once_are_refused_until_one_is_done() -> None:
    with FileStore(SMALL) as store:
        first, _ = store.begin("a", 1), store.begin("b", 1)
        with pytest.raises(FileRefused, match="at once"):
            store.begin("c", 1)

        store.drop(first)
        assert not first.path.exists()
        store.begin("c", 1)


def test_what_is_on_its_way_counts_as_stored() -> None:
    config = FileConfig(max_file=100, max_stored=150, max_transfers=5)
    with FileStore(config) as store:
        store.begin("a", 100)
        with pytest.raises(FileRefused, match="no room"):
            store.begin("b", 60)


def test_same_name_twice_are_two_files_and_the_newest_is_shared() -> None:
    with FileStore(SMALL) as store:
        put(store, "same", b"1")
        newest = put(store, "same", b"2")

        assert len(store.received) == 2
        assert store.find("same").path == newest


def test_without_a_folder_the_sample_is_shared_and_stays_the_same() -> None:
    with FileStore(SMALL) as one, FileStore(SMALL) as two:
        assert [file.size for file in one.shared()] == [50]
        assert one.shared()[0].sha256() == two.shared()[0].sha256()


def test_shared_folder_hides_links_and_folders(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("hello")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").mkdir()
    with FileStore(SMALL, tmp_path) as store:
        assert [file.name for file in store.shared()] == ["plain.txt"]
        for name in ("link", "folder", "../secret", "/etc/passwd", ""):
            with pytest.raises(FileRefused):
                store.find(name)
